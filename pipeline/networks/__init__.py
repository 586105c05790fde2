"""Networks, named as their papers name them; each gives logits."""

from pipeline.networks.convnet import ConvNet
from pipeline.networks.deeplabv3plus import DeepLabV3Plus
from pipeline.networks.fcn import FCN
from pipeline.networks.imagenet import load_imagenet_weights, prepare_backbone
from pipeline.networks.mobilenetv2 import MobileNetV2
from pipeline.networks.resnet import ResNet
from pipeline.networks.segnet import SegNet
from pipeline.networks.unet import UNet

__all__ = [
    "FCN",
    "ConvNet",
    "DeepLabV3Plus",
    "MobileNetV2",
    "ResNet",
    "SegNet",
    "UNet",
    "load_imagenet_weights",
    "prepare_backbone",
]

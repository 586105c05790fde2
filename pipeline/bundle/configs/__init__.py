"""The literal configs of a bundle, from its plan: what ``python -m monai.bundle run`` reads."""

from pipeline.bundle.configs.inference import evaluate_config, inference_config
from pipeline.bundle.configs.training import multi_gpu_config, train_config

__all__ = ["evaluate_config", "inference_config", "multi_gpu_config", "train_config"]

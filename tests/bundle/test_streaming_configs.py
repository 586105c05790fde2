"""Every change of the grid that a plan can ask for comes back: built configs against MONAI's dense path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from monai.data import decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.transforms import AsDiscreted, Invertd
from PIL import Image

from pipeline.bundle import build_bundle
from pipeline.errors import InputError
from pipeline.inferers import FastestInferer, StreamingInferer
from pipeline.planning import load_plan

_SOLID: dict[str, Any] = {"spacing_mm": None, "window": [12, 10, 8]}
_FLAT: dict[str, Any] = {"window": [16, 16], "normalization": {"kind": "percentile", "lower": 1, "upper": 99}}
_CHANGES = {
    "spacing": _SOLID | {"spacing_mm": [1.5, 1.2, 3.0]},
    "no change": _SOLID,
    "median and resize": _SOLID | {"median_radius": 1, "resize": [20, 14, 11]},
    "cube": _SOLID | {"resize": [18, 18, 18], "keep_aspect": True},
    "everything": _SOLID | {"spacing_mm": [1.5, 1.2, 3.0], "resize": [20, 14, 11], "center_crop": [15, 30, 9]},
    "crop": _SOLID | {"orientation": "LPS", "center_crop": [15, 12, 9]},
    "picture": _FLAT,
    "picture in a square": _FLAT | {"resize": [24, 24], "keep_aspect": True},
    "centre of a picture": _FLAT | {"resize": [30, 24], "center_crop": [20, 20]},
}


def _parser(bundle: Path, preprocessing: dict[str, Any]) -> ConfigParser:
    plan = yaml.safe_load((bundle / "plan.yaml").read_text())
    plan["preprocessing"].update(preprocessing)
    dimensions = len(preprocessing["window"])
    if dimensions == 2:
        plan["dimensions"] = 2
        plan["preprocessing"]["spacing_mm"] = None
    plan["network"] = {"_target_": "monai.networks.nets.UNet", "spatial_dims": dimensions, "in_channels": 1,
                       "out_channels": 3, "channels": [6, 8], "strides": [2]}  # fmt: skip
    (bundle / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(bundle)
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    parser["bundle_root"] = str(bundle)
    return parser


def _volume(path: Path, size: tuple[int, ...], *, shear: float = 0.0) -> Path:
    affine = np.array([[-1.1, 0.1, 0, 5], [0.1, 1.1, shear, -8], [0, 0, 2.5, 3], [0, 0, 0, 1.0]])
    voxels = np.random.default_rng(0).integers(-150, 250, size, dtype=np.int16)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def _compare(parser: ConfigParser, image: Path) -> None:
    torch.manual_seed(0)
    preprocessing, inferer, network = (
        parser.get_parsed_content(key) for key in ("preprocessing", "inferer", "network_def")
    )
    network.eval()
    assert isinstance(inferer, FastestInferer)
    assert isinstance(inferer.inferer, StreamingInferer)
    batch = list_data_collate([preprocessing({"image": str(image), "name": "case"})])
    (labels,) = decollate_batch(inferer.inferer(batch["image"], network))
    layout = {key: inferer.inferer.layout[key] for key in ("roi_size", "overlap", "mode")}
    with torch.no_grad():
        batch["pred"] = SlidingWindowInferer(sw_batch_size=1, **layout)(batch["image"], network)
    (case,) = decollate_batch(batch)
    undo = Invertd("pred", preprocessing, "image", nearest_interp=False)
    expected = AsDiscreted("pred", argmax=True)(undo(case))["pred"]
    assert labels.shape == expected.shape
    assert int((labels.as_tensor() != expected.as_tensor()).sum()) <= 1
    assert len(labels.unique()) > 1


@pytest.mark.parametrize("name", _CHANGES)
def test_labels_are_those_of_the_dense_path(bundle: Path, tmp_path: Path, name: str) -> None:
    change = _CHANGES[name]
    parser = _parser(bundle, change)
    if len(change["window"]) == 3:
        _compare(parser, _volume(tmp_path / "volume.nii.gz", (22, 19, 9)))
        if name in ("spacing", "everything"):
            _compare(parser, _volume(tmp_path / "tilted.nii.gz", (22, 19, 9), shear=0.4))
        return
    picture = np.random.default_rng(0).integers(0, 255, (37, 29), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    _compare(parser, tmp_path / "picture.png")
    _compare(parser, _volume(tmp_path / "slice.nii.gz", (29, 37, 1)))


def test_the_plan_s_options_reach_the_inferer(bundle: Path) -> None:
    plan = yaml.safe_load((bundle / "plan.yaml").read_text())
    plan["inference"] = {"skip_below": 0.0, "max_slab_mb": 64, "window_batch": 3, "mirror_axes": [1]}
    (bundle / "plan.yaml").write_text(yaml.safe_dump(plan))
    parser = _parser(bundle, {"window": [12, 10, 8]})
    streaming = parser.get_parsed_content("inferer").inferer
    assert (streaming.skip_below, streaming.max_slab_mb, streaming.sw_batch_size) == (0.0, 64, 3)
    assert streaming.inferer.axes == (1,)
    assert load_plan(bundle / "plan.yaml").inference.skip_below == 0.0


@pytest.mark.parametrize("options", [{"skip_below": float("nan")}, {"max_slab_mb": 0}, {"max_slab_mb": -5}])
def test_options_that_make_no_sense_are_refused(bundle: Path, options: dict[str, float]) -> None:
    plan = yaml.safe_load((bundle / "plan.yaml").read_text())
    (bundle / "plan.yaml").write_text(yaml.safe_dump(plan | {"inference": options}))
    with pytest.raises(InputError, match=rf"inference\.{next(iter(options))}"):
        load_plan(bundle / "plan.yaml")


def test_a_validation_sees_logits_on_the_network_s_grid(bundle: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.json"))
    assert isinstance(parser.get_parsed_content("validate::inferer").inferer, SlidingWindowInferer)

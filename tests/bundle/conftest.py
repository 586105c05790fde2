from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

import pipeline
from pipeline.bundle import build_bundle

DEMO_PLAN = Path(pipeline.__file__).parent / "workflows" / "demo_plan.yaml"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A small bundle, just built, without weights."""
    folder = tmp_path / "phantom_ct_segmentation"
    folder.mkdir()
    shutil.copy(DEMO_PLAN, folder / "plan.yaml")
    build_bundle(folder)
    return folder


@pytest.fixture
def whole_bundle(bundle: Path) -> Path:
    """The small bundle with everything that a bundle has; its weights are untrained."""
    for name in ("LICENSE", "docs/README.md", "docs/data_license.txt"):
        (bundle / name).parent.mkdir(exist_ok=True)
        (bundle / name).write_text("text")
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    (bundle / "models").mkdir()
    torch.save(parser.get_parsed_content("network_def").state_dict(), bundle / "models" / "model.pt")
    return bundle

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import pipeline.workflows.demo as demo_workflow
from pipeline.bundle import build_bundle
from pipeline.data.phantoms import Phantom, make_phantom, write_phantom_dicom, write_phantom_labels
from pipeline.workflows.train import train

SHAPE, SPACING_MM = (40, 40, 20), (3.2, 3.2, 4.8)


@dataclass(frozen=True)
class Trained:
    """A small bundle, trained for seconds: enough that its masks are about right."""

    bundle: Path
    data: Path

    def phantom(self, seed: int) -> Phantom:
        return make_phantom(seed, shape=SHAPE, spacing_mm=SPACING_MM)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("a study with spaces")
    made = Trained(root / "phantom_ct_segmentation", root / "data")
    for seed in range(16):
        phantom = made.phantom(seed)
        write_phantom_dicom(phantom, root / "data" / "images" / f"case{seed:02d}")
        write_phantom_labels(phantom, root / "data" / "labels" / f"case{seed:02d}.nii.gz")
    made.bundle.mkdir()
    plan = yaml.safe_load(Path(demo_workflow.__file__).with_name("demo_plan.yaml").read_text())
    plan["preprocessing"].update(spacing_mm=list(SPACING_MM), window=[24, 24, 12])
    plan["training"].update(epochs=60, validate_every=20)
    (made.bundle / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(made.bundle)
    train(made.bundle, data=made.data)
    return made

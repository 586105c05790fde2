"""The shipped hippocampus bundle on real data."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.bundle import verify_bundle
from pipeline.workflows.evaluate import evaluate
from pipeline.workflows.segment import segment

BUNDLE = Path(__file__).parents[1] / "bundles" / "hippocampus_mr_segmentation"


def test_the_bundle_is_what_it_says() -> None:
    assert {name: problem for name, problem in verify_bundle(BUNDLE).items() if problem} == {}


def test_validation_dice_is_that_of_its_readme_and_reaches_the_published_one(shared_data: Path, tmp_path: Path) -> None:
    table, failures = evaluate(
        BUNDLE, data=shared_data / "Task04_Hippocampus", output_dir=tmp_path, subset="validation"
    )
    assert failures == {}
    assert len(table.cases) == 36
    dice = {name: row["mean"] for name, row in table.summary().items()}
    # nnU-Net 3d_fullres, five-fold cross-validation (Isensee et al., Nat Methods 18:203, 2021; published results)
    assert dice["Anterior"] >= 0.8975
    assert dice["Posterior"] >= 0.8807
    readme = (BUNDLE / "docs" / "README.md").read_text()
    for name in ("Anterior", "Posterior"):
        (written,) = re.findall(rf"\| validation \(36\) \| {name} \| ([0-9.]+)", readme)
        # A processor without bfloat16 rounds otherwise.
        assert float(written) == pytest.approx(dice[name], abs=1e-3)


def test_masks_have_shape_and_affine_of_their_images(shared_data: Path, tmp_path: Path) -> None:
    images = sorted((shared_data / "Task04_Hippocampus" / "imagesTr").glob("*.nii.gz"))[:3]
    folder = tmp_path / "in"
    folder.mkdir()
    for image in images:
        (folder / image.name).symlink_to(image)
    done = segment(folder, bundle=BUNDLE, output_dir=tmp_path / "out")
    assert done.failures == {}
    for image in images:
        source, mask = nib.load(image), nib.load(tmp_path / "out" / image.name)
        assert mask.shape == source.shape
        np.testing.assert_array_equal(mask.affine, source.affine)
        assert mask.get_data_dtype() == np.uint8
        assert set(np.unique(mask.dataobj)) == {0, 1, 2}

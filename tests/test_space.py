from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813

import pipeline
from pipeline.space import swap_lps_ras


def test_the_same_voxel_lies_at_the_same_place_for_itk_and_nibabel(tmp_path: Path) -> None:
    affine = np.array([[1.2, -0.5, 0.1, 7], [0.4, 1.1, -0.2, -8], [0.1, 0.3, 2.5, 9], [0, 0, 0, 1.0]])
    axes, _ = np.linalg.qr(affine[:3, :3])
    affine[:3, :3] = axes * (1, 2, 3)
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), affine), tmp_path / "a.nii")
    image = sitk.ReadImage(str(tmp_path / "a.nii"))  # ITK's places are LPS
    for voxel in [(0, 0, 0), (3, 1, 2), (1, 4, 5)]:
        ras = nib.load(tmp_path / "a.nii").affine @ (*voxel, 1)
        lps = image.TransformIndexToPhysicalPoint(voxel)
        np.testing.assert_allclose(swap_lps_ras(ras[:3]), lps, atol=1e-4)
        np.testing.assert_allclose((swap_lps_ras(affine, affine=True) @ (*voxel, 1))[:3], lps, atol=1e-4)


def test_no_other_file_turns_lps_into_ras() -> None:
    root = Path(pipeline.__file__).parent
    signs = re.compile(r"(?<!, )-1(\.0)?, -1(\.0)?, 1(\.0)?[\],]")
    assert [path.name for path in root.rglob("*.py") if signs.search(path.read_text(encoding="utf-8"))] == ["space.py"]

"""CT, PET and MR of one study, which its authors gave one frame of reference and three grids."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from monai.transforms import LoadImaged
from pydicom.uid import generate_uid

from pipeline.data import find_inputs, find_pairs
from pipeline.errors import InputError
from pipeline.sources import CaseReader

RULES = [
    {"name": "MR_T1", "description": r"MR_T1"},
    {"name": "CT", "modality": "CT", "body_part": "extremity"},
    {"name": "PET", "modality": "PT"},
]
WHOLE = ("STS_001", "STS_025")  # those with all three


@pytest.fixture(scope="module")
def sarcoma(shared_data: Path) -> Path:
    return shared_data / "STS_Sarcoma"


@pytest.mark.parametrize("patient", WHOLE)
@pytest.mark.parametrize("first", ["MR_T1", "CT", "PET"])
def test_the_channels_lie_where_simpleitk_says(
    sarcoma: Path, patient: str, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    names = [first, *(name for name in ("MR_T1", "CT", "PET") if name != first)]
    folders = [sarcoma / patient / name / "image" for name in names]
    frames = {
        pydicom.dcmread(next(folder.iterdir()), stop_before_pixels=True).FrameOfReferenceUID for folder in folders
    }
    assert len(frames) == 1, "the data set gives all of a patient one frame of reference"
    with caplog.at_level(logging.INFO, "pipeline"):
        load = LoadImaged("image", reader=CaseReader(), ensure_channel_first=True)
        image = load({"image": [str(folder) for folder in folders]})["image"]
    assert sum("linear interpolation" in record.getMessage() for record in caplog.records) == 2
    generator = np.random.default_rng(1)
    voxels = np.stack([generator.integers(0, size, 4000) for size in image.shape[1:]])
    places = (np.diag([-1, -1, 1, 1]) @ image.affine.numpy() @ np.vstack([voxels, np.ones(4000)]))[:3].T  # LPS
    for channel, folder in zip(image.numpy(), folders, strict=True):
        files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
        reference = SimpleITK.Cast(SimpleITK.ReadImage(files), SimpleITK.sitkFloat32)
        values = SimpleITK.GetArrayViewFromImage(reference)
        lowest = min(float(values.min()), -1000.0) if "CT" in folder.parts else float(values.min())
        expected, sure = np.full(len(places), lowest), np.ones(len(places), dtype=bool)
        for number, place in enumerate(places):
            index = np.array(reference.TransformPhysicalPointToContinuousIndex(place))
            edges = np.concatenate([index + 0.5, np.array(reference.GetSize()) - 0.5 - index])
            sure[number] = np.abs(edges).min() > 1e-2  # or rounding decides whether it is inside
            if edges.min() > 0:
                expected[number] = reference.EvaluateAtPhysicalPoint(place, SimpleITK.sitkLinear)
        assert sure.mean() > 0.9
        got = channel[tuple(voxels)]
        # Positions are decimal strings, by which places differ by 1e-3 of a voxel.
        np.testing.assert_allclose(got[sure], expected[sure], atol=3e-4 * float(np.ptp(values)))


def test_only_the_patients_with_all_channels_are_whole_cases(sarcoma: Path) -> None:
    cases = {case["name"]: case for case in find_inputs(sarcoma, channels=RULES, dimensions=3)}
    assert len(cases) == 24
    assert tuple(sorted(name for name, case in cases.items() if "problem" not in case)) == WHOLE
    assert "case STS_012: channel CT is missing" in cases["STS_012"]["problem"]
    (alone,) = find_inputs(sarcoma / "STS_002", channels=[RULES[0], {**RULES[1], "optional": True}])
    assert alone["name"] == "STS_002"
    expected = [str(sarcoma / "STS_001" / name / "image") for name in ("MR_T1", "CT", "PET")]
    assert cases["STS_001"]["image"] == expected


def test_outlines_on_the_first_channel_are_the_label(sarcoma: Path) -> None:
    optional = [RULES[0], {**RULES[1], "optional": True}]
    pairs = {pair["name"]: pair for pair in find_pairs(sarcoma, channels=optional)}
    assert len(pairs) == 24
    assert pairs["STS_006"]["label"] == str(sarcoma / "STS_006" / "MR_T1" / "rtstruct" / "RS.dcm")
    turned = {pair["name"]: pair for pair in find_pairs(sarcoma, channels=[{**RULES[1], "optional": True}, RULES[0]])}
    assert turned["STS_006"]["label"] == str(sarcoma / "STS_006" / "CT" / "rtstruct" / "RS.dcm")
    assert turned["STS_002"]["label"] == str(sarcoma / "STS_002" / "MR_T1" / "rtstruct" / "RS.dcm")


def test_a_pet_in_another_frame_of_reference_is_refused(sarcoma: Path, tmp_path: Path) -> None:
    frame = generate_uid()
    for file in (sarcoma / "STS_001" / "PET" / "image").iterdir():
        dataset = pydicom.dcmread(file)
        dataset.FrameOfReferenceUID = frame
        dataset.save_as(tmp_path / file.name)
    reader = CaseReader()
    with pytest.raises(InputError, match=r"channels lie in different frames of reference \(expected that of .*CT"):
        reader.get_data(reader.read([sarcoma / "STS_001" / "CT" / "image", tmp_path]))

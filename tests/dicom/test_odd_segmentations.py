"""Segmentations of a single frame, with numbers that leave some out, or that contradict themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.dicom import Grid, Segment, choose, read_segmentation, read_segments, scan, write_segmentation
from pipeline.errors import InputError
from pipeline.sources import CaseReader

CODE = ("91723000", "SCT", "Anatomical Structure")
SHAPE = (12, 10, 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A series, and a SEG of one frame that shows nine voxels of its middle slice."""
    folder = tmp_path_factory.mktemp("made")
    series = write_phantom_dicom(make_phantom(1, shape=SHAPE, spacing_mm=(2, 2.5, 3)), folder / "series")
    reader = CaseReader()
    _, meta = reader.get_data(reader.read(series))
    path = write_segmentation(
        _expected(),
        affine=meta["affine"],
        source_files=sorted(series.iterdir()),
        segments=[Segment(value=1, name="Liver", category=CODE, property_type=CODE)],
        path=folder / "liver.dcm",
    )
    dataset = pydicom.dcmread(path)
    middle = dataset.pixel_array[1]
    assert middle.sum() == 9
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[1:2]
    dataset.NumberOfFrames = 1
    bits = np.packbits(middle.ravel(), bitorder="little").tobytes()
    dataset.PixelData = bits + b"\0" * (len(bits) % 2)
    dataset.save_as(path)
    return series, path


def _expected() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:6, 3:6, 1] = 1
    return labels


def _shared(dataset: Dataset) -> Dataset:
    return dataset.SharedFunctionalGroupsSequence[0]


def _own(dataset: Dataset) -> Dataset:
    return dataset.PerFrameFunctionalGroupsSequence[0]


def _number(dataset: Dataset, number: int) -> None:
    dataset.SegmentSequence[0].SegmentNumber = number
    _shared(dataset).SegmentIdentificationSequence[0].ReferencedSegmentNumber = number


def _one_dimension(dataset: Dataset) -> None:
    dataset.DimensionIndexSequence = dataset.DimensionIndexSequence[:1]
    _own(dataset).FrameContentSequence[0].DimensionIndexValues = [1]


def _place_in_shared(dataset: Dataset) -> None:
    _shared(dataset).PlanePositionSequence = _own(dataset).PlanePositionSequence
    del _own(dataset).PlanePositionSequence


def _measures(dataset: Dataset, **values: object) -> None:
    for keyword, value in values.items():
        setattr(_shared(dataset).PixelMeasuresSequence[0], keyword, value)


READ: dict[str, Callable[[Dataset], object]] = {
    "as it is": lambda dataset: None,
    "no spacing between slices": lambda dataset: _shared(dataset).PixelMeasuresSequence[0].pop("SpacingBetweenSlices"),
    "place in the shared groups": _place_in_shared,
    "one dimension": _one_dimension,
    "number 3 alone": lambda dataset: _number(dataset, 3),
    "no derivation": lambda dataset: _own(dataset).pop("DerivationImageSequence"),
}
REFUSED: dict[str, tuple[Callable[[Dataset], object], str]] = {
    "no pixel spacing": (lambda dataset: _shared(dataset).PixelMeasuresSequence[0].pop("PixelSpacing"), "PixelSpacing"),
    "no measures": (lambda dataset: _shared(dataset).pop("PixelMeasuresSequence"), "no PixelMeasuresSequence"),
    "no place": (lambda dataset: _own(dataset).pop("PlanePositionSequence"), "no PlanePositionSequence"),
    "no direction": (lambda dataset: _shared(dataset).pop("PlaneOrientationSequence"), "no PlaneOrientationSequence"),
    "no groups": (lambda dataset: dataset.pop("PerFrameFunctionalGroupsSequence"), "not described one by one"),
    "no number of frames": (lambda dataset: dataset.pop("NumberOfFrames"), "the file has no NumberOfFrames"),
    "spacing of 0": (lambda dataset: _measures(dataset, PixelSpacing=[0, 0]), "PixelSpacing is not positive"),
    "endless spacing": (lambda dataset: _measures(dataset, PixelSpacing=["inf", "1"]), "PixelSpacing cannot be used"),
    "another segment": (lambda dataset: setattr(dataset.SegmentSequence[0], "SegmentNumber", 3), "not described"),
    "no segments": (lambda dataset: setattr(dataset, "SegmentSequence", []), "numbers of its segments"),
    "number 0": (lambda dataset: _number(dataset, 0), "numbers of its segments"),
    "one number twice": (
        lambda dataset: dataset.SegmentSequence.append(copy.deepcopy(dataset.SegmentSequence[0])),
        "numbers of its segments",
    ),
    "no maximum": (
        lambda dataset: dataset.update({"SegmentationType": "FRACTIONAL", "MaximumFractionalValue": 0}),
        "MaximumFractionalValue",
    ),
    "unknown type": (lambda dataset: setattr(dataset, "SegmentationType", "ODD"), "SegmentationType"),
}


def _altered(made: tuple[Path, Path], tmp_path: Path, change: Callable[[Dataset], object]) -> tuple[Grid, Path]:
    series, path = made
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(tmp_path / "altered.dcm")
    return Grid.of_series(choose(scan(series))), tmp_path / "altered.dcm"


@pytest.mark.parametrize("name", READ)
def test_a_lone_frame_is_read(name: str, made: tuple[Path, Path], tmp_path: Path) -> None:
    grid, path = _altered(made, tmp_path, READ[name])
    np.testing.assert_array_equal(read_segments(path, names={1: ["Liver"]}, grid=grid), _expected())
    alone = read_segmentation(path)
    np.testing.assert_array_equal(alone.labels, _expected()[:, :, 1:2])
    np.testing.assert_allclose(np.linalg.norm(np.asarray(alone.affine)[:3, :3], axis=0), [2, 2.5, 3])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_a_frame_without_place_or_segment_is_refused(name: str, made: tuple[Path, Path], tmp_path: Path) -> None:
    change, words = REFUSED[name]
    grid, path = _altered(made, tmp_path, change)
    for read in (lambda: read_segments(path, names={1: ["Liver"]}, grid=grid), lambda: read_segmentation(path)):
        with pytest.raises(InputError, match=words) as caught:
            read()
        assert "\n" not in str(caught.value)

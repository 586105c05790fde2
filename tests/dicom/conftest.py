from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline.data.phantoms import make_phantom, write_phantom_dicom


class Study:
    """A folder of slices to be altered; ``files`` are in order of z, from the feet up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def files(self) -> list[Path]:
        paths = [path for path in self.folder.glob("*.dcm") if not path.name.startswith(".")]
        return sorted(paths, key=lambda path: float(pydicom.dcmread(path).ImagePositionPatient[2]))

    def read(self) -> list[pydicom.Dataset]:
        return [pydicom.dcmread(path) for path in self.files]

    def alter(self, change, files=None) -> None:
        for index, path in enumerate(self.files if files is None else files):
            dataset = pydicom.dcmread(path)
            change(dataset, index)
            dataset.save_as(path)


@pytest.fixture
def study(tmp_path) -> Study:
    phantom = make_phantom(7, shape=(24, 20, 9), spacing_mm=(2.0, 2.5, 3.0))
    return Study(write_phantom_dicom(phantom, tmp_path / "study"))


@pytest.fixture
def oblique(study) -> Study:
    """The same slices, turned about all three axes."""
    row, column = np.array([0.8, 0.48, -0.36]), np.array([-0.6, 0.64, -0.48])
    normal = np.cross(row, column)

    def turn(dataset, index):
        dataset.ImageOrientationPatient = [f"{value:.12f}" for value in (*row, *column)]
        dataset.ImagePositionPatient = [
            f"{value:.12f}" for value in np.array([12.5, -40.25, 7.0]) + 3.2 * index * normal
        ]

    study.alter(turn)
    return study

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

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


def _item(**values) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.fixture
def write_rtstruct():
    """Write an RTSTRUCT of ``{name: [points (n, 3) in LPS mm, or (type, points)]}`` about a source slice."""

    def write(path: Path, rois, source: Dataset, frame_of_reference_uid: str | None = None) -> Path:
        frame = source.FrameOfReferenceUID if frame_of_reference_uid is None else frame_of_reference_uid
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, generate_uid()
        dataset.Modality, dataset.SeriesInstanceUID = "RTSTRUCT", generate_uid()
        dataset.StudyInstanceUID = source.StudyInstanceUID
        dataset.PatientName, dataset.PatientID = "Nobody^Knows", "SECRET7"
        dataset.StructureSetLabel = "test"
        series = _item(SeriesInstanceUID=source.SeriesInstanceUID)
        study = _item(ReferencedSOPInstanceUID=source.StudyInstanceUID, RTReferencedSeriesSequence=[series])
        dataset.ReferencedFrameOfReferenceSequence = [
            _item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])
        ]
        dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
        for number, (name, contours) in enumerate(rois.items(), start=11):
            dataset.StructureSetROISequence.append(
                _item(ROINumber=number, ROIName=name, ReferencedFrameOfReferenceUID=frame)
            )
            items = []
            for contour in contours:
                kind, points = contour if isinstance(contour, tuple) else ("CLOSED_PLANAR", contour)
                items.append(
                    _item(
                        ContourGeometricType=kind,
                        NumberOfContourPoints=len(points),
                        ContourData=[f"{value:.6f}" for value in np.asarray(points, dtype=float).ravel()],
                    )
                )
            # The contours stand in the other order, because their numbers decide and not their place.
            dataset.ROIContourSequence.insert(0, _item(ReferencedROINumber=number, ContourSequence=items))
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write

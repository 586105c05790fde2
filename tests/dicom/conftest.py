from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
import yaml
from dicom_altered.slices import STEP_MM
from dicom_altered.tilted import LEVEL
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

import pipeline.workflows.demo as demo_workflow
from pipeline.bundle import build_bundle
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


@pytest.fixture(scope="session")
def threshold(tmp_path_factory) -> Path:
    """A bundle whose network is a threshold: the output for the ball is 0 where the value is at its border."""
    folder = tmp_path_factory.mktemp("bundles") / "phantom_ct_segmentation"
    content = yaml.safe_load(Path(demo_workflow.__file__).with_name("demo_plan.yaml").read_text())
    content["labels"] = [{"value": 1, "name": "GTV"}]
    content["preprocessing"].update(
        spacing_mm=[1.0, 1.0, STEP_MM],
        window=[32, 32, 16],
        normalization={"kind": "ct_window", "center_hu": LEVEL, "width_hu": 200},
    )
    content["network"] = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1}
    folder.mkdir()
    (folder / "plan.yaml").write_text(yaml.safe_dump(content))
    build_bundle(folder)
    (folder / "models").mkdir(exist_ok=True)
    weights = {"weight": torch.tensor([0.0, 8.0]).reshape(2, 1, 1, 1, 1), "bias": torch.tensor([0.0, -4.0])}
    torch.save(weights, folder / "models" / "model.pt")
    return folder

"""The DICOM readers that ``benchmarks.dicom_truth`` compares, each run in a process of its own."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Read: TypeAlias = "Callable[[str], tuple[Any, Any]]"
ROOT = Path(__file__).resolve().parents[1]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
IMAGES = {"CT", "MR", "PT"}


def _medbundle() -> Read:
    from pipeline.dicom import DicomSeriesReader

    reader = DicomSeriesReader()

    def read(folder: str) -> tuple[Any, Any]:
        array, meta = reader.get_data(reader.read(folder))
        return array, meta["affine"]

    return read


def _monai(name: str) -> Read:
    import monai.data

    def read(folder: str) -> tuple[Any, Any]:
        reader = getattr(monai.data, name)()
        array, meta = reader.get_data(reader.read(folder))
        return array, meta["affine"]

    return read


def _simpleitk() -> Read:
    import SimpleITK as sitk  # noqa: N813

    def read(folder: str) -> tuple[Any, Any]:
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder)
        image = sitk.ReadImage(names if len(names) != 1 else names[0])  # an ImageSeriesReader where there are several
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        affine[:3, 3] = image.GetOrigin()
        array = sitk.GetArrayFromImage(image)
        return array.transpose(*range(array.ndim)[::-1]), LPS_TO_RAS @ affine

    return read


def _highdicom() -> Read:
    import highdicom
    import pydicom
    from pydicom.errors import InvalidDicomError

    options = {"apply_real_world_transform": False, "apply_presentation_lut": False}

    def images(folder: str) -> dict[Path, Any]:
        found = {}
        for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            try:
                dataset = pydicom.dcmread(path)
            except InvalidDicomError:
                continue
            if dataset.get("Modality") in IMAGES:
                found[path] = dataset
        return found

    def read(folder: str) -> tuple[Any, Any]:
        found = images(folder)
        if len(found) == 1 and "PerFrameFunctionalGroupsSequence" in next(iter(found.values())):
            volume = highdicom.imread(next(iter(found))).get_volume(**options)
        else:
            volume = highdicom.get_volume_from_series(list(found.values()), **options)
        return volume.array.transpose(2, 1, 0), LPS_TO_RAS @ volume.affine[:, [2, 1, 0, 3]]

    return read


def _dicom2nifti() -> Read:
    import dicom2nifti
    import nibabel

    def read(folder: str) -> tuple[Any, Any]:
        with tempfile.TemporaryDirectory() as out:
            path = Path(out) / "image.nii.gz"
            dicom2nifti.dicom_series_to_nifti(folder, str(path))
            image = nibabel.load(path)
            return image.get_fdata(), image.affine

    return read


READERS: dict[str, Callable[[], Read]] = {
    "medbundle": _medbundle,
    "MONAI PydicomReader": lambda: _monai("PydicomReader"),
    "MONAI ITKReader": lambda: _monai("ITKReader"),
    "SimpleITK": _simpleitk,
    "highdicom": _highdicom,
    "dicom2nifti": _dicom2nifti,
}


class _Words(logging.Handler):
    """Everything that is logged as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def serve(pipe: Connection, name: str, site: Path | None) -> None:
    """Answer each (folder, truth) of the pipe with what the reader makes of it."""
    sys.path.insert(0, str(ROOT / "tests"))
    if site is not None:
        sys.path.append(str(site))
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        try:
            read = READERS[name]()
        except ImportError as error:
            pipe.send((str(error),))
            return
        words = _Words()
        logging.getLogger().handlers = [words]
        pipe.send(("ready",))
        while True:
            folder, truth = pipe.recv()
            words.texts.clear()
            said.seek(0)
            said.truncate()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                answer = _answer(read, folder, truth)
            texts = [str(one.message) for one in caught if not issubclass(one.category, DeprecationWarning)]
            sys.stdout.flush()
            sys.stderr.flush()
            said.seek(0)
            texts += words.texts + said.read().decode(errors="replace").splitlines()
            pipe.send((*answer, texts[:1]) if answer[0] == "loaded" else answer)


def _answer(read: Read, folder: str, truth: Any) -> tuple[Any, ...]:
    from dicom_altered.truth import difference  # type: ignore[import-not-found]

    try:
        array, affine = read(folder)
    except Exception as error:  # noqa: BLE001 - whatever a reader raises is its answer
        return "refused", f"{type(error).__name__}: {str(error)[:200]}"
    if truth is None:
        return "loaded", None, None
    array = np.asarray(array)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        array = array[..., None]
    found = difference(truth, array, affine)
    return "loaded", found.corners_mm, found.value

"""No patient's name, ID or date of birth comes out of medbundle but in a DICOM file (PS3.3 C.7.1.1).

Every series has them, in values that pydicom accepts and in others that it warns of and quotes. What is said, logged,
warned of, raised, written and left behind is searched.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import yaml
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

import pipeline.workflows.demo as demo_workflow
from pipeline.bundle import build_bundle
from pipeline.cli import main
from pipeline.data.phantoms import make_phantom, write_phantom_dicom, write_phantom_labels
from pipeline.dicom import DicomSeriesReader, choose, read_labels, scan
from pipeline.dicom.deidentification.attributes import silent_pydicom
from pipeline.workflows.classify import classify
from pipeline.workflows.deidentify import deidentify
from pipeline.workflows.evaluate import evaluate
from pipeline.workflows.inspect import inspect
from pipeline.workflows.segment import segment

CANARIES = ("canaryname", "zebedee", "canaryid", "17760704", "1776-07-04", "canarycomment")
ORDINARY = {
    "PatientName": b"Canaryname^Zebedee",
    "PatientID": b"CANARYID-7713 ",
    "PatientBirthDate": b"17760704",
    "OtherPatientIDs": b"CANARYID-8",
    "PatientComments": b"canarycomment ",
}
ODD = {
    "PatientName": b"Canaryname=Zebedee=Zebedee=Zebedee=" + b"Zebedee" * 13,  # groups and letters that no PN has
    "PatientID": b"canaryid\xff\xfe" * 8,  # of no character set, and too long
    "PatientBirthDate": b"born 17760704 ",
    "OtherPatientIDs": b"CANARYID" * 10,
    "PatientComments": b"canarycomment\x1b$)Z ",
    "PatientWeight": b"CANARYID",  # no number
    "AccessionNumber": b"CANARYID" * 4,
    "StudyDate": b"17760704th",
    "StudyID": b"CANARYID" * 4,
    "PatientAge": b"CANARYID",
    "InstanceNumber": b"CANARYID",
    "IrradiationEventUID": b"CANARYID",
}
SHAPE, SPACING_MM = (20, 20, 10), (6.4, 6.4, 9.6)
LOGGERS = ("", "pipeline", "pydicom", "highdicom", "monai", "ignite", "PIL", "matplotlib", "nibabel", "py.warnings")


def plant(dataset: Dataset, values: dict[str, bytes]) -> None:
    """Give a data set values as a file would hold them, which pydicom has not looked at."""
    dataset.SpecificCharacterSet = "ISO_IR 100"
    for keyword, value in values.items():
        tag = Tag(keyword)
        vr = pydicom.datadict.dictionary_VR(tag)
        raw = value + b" " * (len(value) % 2)
        dataset[tag] = RawDataElement(tag, vr, len(raw), raw, 0, False, True)


def write_series(folder: Path, seed: int, values: dict[str, bytes], change: Callable[[Dataset, int], None]) -> Path:
    write_phantom_dicom(make_phantom(seed, shape=SHAPE, spacing_mm=SPACING_MM), folder)
    for index, path in enumerate(sorted(folder.glob("*.dcm"))):
        dataset = pydicom.dcmread(path)
        with silent_pydicom():
            plant(dataset, values)
            change(dataset, index)
            dataset.save_as(path)
    return folder


def nothing(dataset: Dataset, index: int) -> None:
    pass


def tilt(dataset: Dataset, index: int) -> None:
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "0.9659258", "0.2588190"]


def other_patient(dataset: Dataset, index: int) -> None:
    if index > 3:
        plant(dataset, {"PatientID": b"CANARYID-OTHER", "PatientName": b"Zebedee"})


def bad_number(dataset: Dataset, index: int) -> None:
    plant(dataset, {"PatientWeight": b"CANARYID", "ImagePositionPatient": b"far\\away\\1"})


def _cut(folder: Path) -> None:
    path = sorted(folder.glob("*.dcm"))[2]
    path.write_bytes(path.read_bytes()[:-100])


def _cut_header(folder: Path) -> None:
    path = sorted(folder.glob("*.dcm"))[2]
    raw = path.read_bytes()
    path.write_bytes(raw[: raw.lower().index(b"canaryname") + 4])


def _remove(folder: Path) -> None:
    by_place = sorted(folder.glob("*.dcm"), key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2])
    by_place[4].unlink()


def write_kinds(root: Path) -> list[Path]:
    """Series that load, and series that are refused for various reasons."""
    folders = [
        write_series(root / "good", 1, ORDINARY, nothing),
        write_series(root / "odd", 2, ORDINARY | ODD, nothing),
        write_series(root / "tilted", 3, ORDINARY | ODD, tilt),
        write_series(root / "mixed", 4, ORDINARY, other_patient),
        write_series(root / "nowhere", 5, ORDINARY | ODD, bad_number),
    ]
    for name, damage in (("cut", _cut), ("cut_header", _cut_header), ("gap", _remove)):
        folders.append(write_series(root / name, 6, ORDINARY | ODD, nothing))
        damage(folders[-1])
    return folders


class Heard:
    """Everything that was said."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def call(self, work: Callable[[], object]) -> bool:
        """Note what comes back, or the error; whether it was an error."""
        try:
            self.stream.write(str(work()))
        except Exception as error:  # noqa: BLE001 - every error is listened to
            self.stream.write("".join(traceback.format_exception_only(error)) + repr(error))
            return True
        return False

    def check(self) -> str:
        text = self.stream.getvalue()
        found = [line for line in text.splitlines() if any(canary in line.lower() for canary in CANARIES)]
        assert found == []
        return text


@contextmanager
def listening(*, level: int = logging.DEBUG) -> Iterator[Heard]:
    """Note standard output and error, the log with its tracebacks, and warnings."""
    heard = Heard()
    handler = logging.StreamHandler(heard.stream)
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    logging.getLogger().addHandler(handler)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(level)
    try:
        with redirect_stdout(heard.stream), redirect_stderr(heard.stream), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            yield heard
            heard.stream.write("\n".join(str(one.message) for one in told))
    finally:
        logging.getLogger().removeHandler(handler)
        for name, value in before.items():
            logging.getLogger(name).setLevel(value)


def search(folder: Path) -> list[str]:
    """The files of a folder that hold a canary in their name or, unless they are DICOM, in their content."""
    found = []
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        content = gzip.decompress(content) if path.name.endswith(".gz") else content
        content = b"" if content[128:132] == b"DICM" else content
        searched = str(path.relative_to(folder)).encode() + content
        if any(canary.encode() in searched.lower() for canary in CANARIES):
            found.append(str(path))
    return found


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for all that is written; temporary files, caches and the home folder are below it as well."""
    root = tmp_path_factory.mktemp("canary")
    for name in ("tmp", "home", "cache", "kinds"):
        (root / name).mkdir()
    before, known = tempfile.tempdir, {name: os.environ.get(name) for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME")}
    tempfile.tempdir = str(root / "tmp")
    os.environ.update(TMPDIR=str(root / "tmp"), HOME=str(root / "home"), XDG_CACHE_HOME=str(root / "cache"))
    write_kinds(root / "kinds")
    yield root
    tempfile.tempdir = before
    for name, value in known.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="module")
def bundle(places: Path) -> Path:
    """A bundle that was trained for an epoch on series with canaries."""
    for seed in range(6):
        values = ORDINARY | ODD if seed % 2 else ORDINARY
        write_series(places / "data" / "images" / f"case{seed}", seed, values, nothing)
        phantom = make_phantom(seed, shape=SHAPE, spacing_mm=SPACING_MM)
        write_phantom_labels(phantom, places / "data" / "labels" / f"case{seed}.nii.gz")
    root = places / "phantom_ct_segmentation"
    root.mkdir()
    plan = yaml.safe_load(Path(demo_workflow.__file__).with_name("demo_plan.yaml").read_text())
    plan["preprocessing"].update(spacing_mm=list(SPACING_MM), window=[16, 16, 8])
    plan["network"]["filters"] = [4, 8, 16]
    plan["training"].update(epochs=1, validate_every=1)
    (root / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(root)
    with listening() as heard:
        status = main(["train", str(root), "--data", str(places / "data"), "--verbose"])
    said = heard.check()
    assert status == 0, said[-2000:]
    assert "epoch 1/1" in said
    return root


def test_the_search_finds_canaries(places: Path, tmp_path: Path) -> None:
    """What is searched for is there, and each way of letting it out is noticed."""
    content = b"".join(path.read_bytes() for path in places.rglob("*.dcm")).lower()
    assert all(canary.encode() in content for canary in CANARIES if canary != "1776-07-04")
    for let_out in (
        lambda: sys.stdout.write("Zebedee"),
        lambda: logging.getLogger("pipeline.dicom").debug("CANARYID"),
        lambda: warnings.warn("canaryname", stacklevel=1),
        lambda: pydicom.dcmread(next((places / "kinds" / "odd").glob("*.dcm"))).InstanceNumber,
    ):
        with listening() as heard:
            let_out()
        with pytest.raises(AssertionError):
            heard.check()
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    image.header["descrip"] = b"CanaryID"
    nibabel.save(image, tmp_path / "mask.nii.gz")
    (tmp_path / "table.csv").write_text("born\n17760704\n")
    (tmp_path / "zebedee").mkdir()
    assert sorted(Path(path).name for path in search(tmp_path)) == ["mask.nii.gz", "table.csv", "zebedee"]


def test_functions_that_read(places: Path) -> None:
    refused = 0
    with listening() as heard:
        heard.stream.write(json.dumps([str(one) for one in inspect(places / "kinds")]))
        for folder in sorted((places / "kinds").iterdir()):
            found = scan(folder)
            heard.stream.write(f"{found} {[str(one) for one in found.series]} {found.series}")
            reader = DicomSeriesReader()
            for read in (
                lambda folder=folder: choose(scan(folder)),
                lambda folder=folder: choose(scan(folder), "no such series"),
                lambda folder=folder, reader=reader: str(reader.get_data(reader.read(folder))),
                lambda folder=folder: read_labels(next(folder.glob("*.dcm")), names={1: ["GTV"]}, grid=None),
            ):
                refused += heard.call(read)
    heard.check()
    assert refused > 20
    assert search(places) == []


def test_functions_that_apply_a_bundle(places: Path, bundle: Path) -> None:
    with listening() as heard:
        done = segment(places / "kinds", bundle=bundle, output_dir=places / "masks")
        heard.stream.write(f"{done}")
        for name in ("tilted", "mixed", "cut"):
            source = places / "kinds" / name
            assert heard.call(lambda source=source: segment(source, bundle=bundle, output_dir=places / "masks"))
        table, failures = evaluate(bundle, data=places / "data", output_dir=places / "evaluation")
        heard.stream.write(f"{table} {failures}")
        assert heard.call(lambda: classify(places / "kinds", bundle=bundle, output_dir=places / "classes"))
    heard.check()
    assert not {"good", "odd"} & done.failures.keys(), "what cannot be repeated of a header is left out"
    assert len(done.failures) >= 5
    assert failures == {}
    assert {path.name for path in (places / "masks").iterdir()} >= {"good.nii.gz", "good.dcm", "odd.dcm"}
    assert search(places) == []


def test_the_command_line(places: Path, bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kinds, out = places / "kinds", places / "out"
    name = ["--bundle", str(bundle)]
    commands = [
        (["inspect", str(kinds)], 0),
        (["inspect", str(kinds), "--json"], 0),
        (["segment", str(kinds), *name, "-o", str(out / "masks")], 3),
        (["segment", str(kinds / "good"), *name, "-o", str(out / "masks")], 0),
        (["segment", str(kinds / "good"), *name, "-o", str(out / "masks"), "--series", "none"], 1),
        (["evaluate", str(bundle), "--data", str(places / "data"), "-o", str(out / "evaluation")], 0),
        (["deidentify", str(kinds), str(out / "clean"), "--uid-map", str(out / "map.json")], 3),
        (["deidentify", str(kinds), str(out / "shifted"), "--dates", "shift"], 3),
    ]
    with listening(level=logging.NOTSET) as heard:
        for command, status in commands:
            assert main([*command, "--verbose"]) == status, command
        assert main(["inspect", str(kinds / "odd")]) == 0
    said = heard.check() + "".join(capfd.readouterr())
    assert not [canary for canary in CANARIES if canary in said.lower()]
    assert (out / "masks" / "good.dcm").is_file()
    assert (out / "clean" / "audit.csv").is_file()
    assert search(places) == []


def test_conversions(places: Path) -> None:
    """Label objects are of a patient as well, with values as odd as an image's."""
    kinds, objects, out = places / "kinds", places / "objects", places / "converted"
    labels = write_phantom_labels(make_phantom(1, shape=SHAPE, spacing_mm=SPACING_MM), places / "labels.nii.gz")
    good, odd = ["--reference", str(kinds / "good")], ["--reference", str(kinds / "odd")]
    with listening() as heard:
        for kind, option in (("seg", []), ("rtstruct", ["--kind", "rtstruct"])):
            path = objects / f"{kind}.dcm"
            assert main(["convert", str(labels), str(path), *good, *option, "--verbose"]) == 0
            with silent_pydicom():
                dataset = pydicom.dcmread(path)
                plant(dataset, {name: value for name, value in ODD.items() if name != "InstanceNumber"})
                dataset.save_as(path)
            assert main(["convert", str(path), str(out / f"{kind}.nii.gz"), *good, "--verbose"]) == 0
            main(["convert", str(path), str(out / f"{kind}.csv"), *odd, "--verbose"])
            main(["convert", str(labels), str(out / f"{kind}.dcm"), *odd, *option, "--verbose"])
        assert main(["convert", str(kinds / "odd"), str(out / "odd.nii.gz"), "--verbose"]) == 0
        main(["inspect", str(objects), "--verbose"])
        assert main(["deidentify", str(objects), str(places / "clean_objects")]) == 0
    heard.check()
    content = b"".join(path.read_bytes() for path in (places / "clean_objects").rglob("*.dcm")).lower()
    assert content
    assert not [canary for canary in CANARIES if canary.encode() in content]
    assert search(places) == []


def test_deidentified_copies(places: Path) -> None:
    """Even the DICOM files of a de-identified folder hold none."""
    with listening() as heard:
        heard.stream.write(str(deidentify(places / "kinds", places / "copies")))
    heard.check()
    content = b"".join(path.read_bytes() for path in (places / "copies").rglob("*") if path.is_file()).lower()
    assert content
    assert not [canary for canary in CANARIES if canary.encode() in content]


def test_a_label_object_keeps_the_patient(places: Path, bundle: Path) -> None:
    """The one place where it is right: a SEG is of the patient of its images (PS3.3 A.51)."""
    with listening() as heard:
        segment(places / "kinds" / "good", bundle=bundle, output_dir=places / "label")
    heard.check()
    assert pydicom.dcmread(places / "label" / "good.dcm").PatientName == "Canaryname^Zebedee"

"""Whatever is wrong with a DICOM file, each reader gives a result or one line: elements and bytes altered at random."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_altered.radiographs import write_radiograph
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.dicom import Segment, deflated, write_measurement_report, write_rtstruct, write_segmentation
from pipeline.errors import InputError
from pipeline.sources import CaseReader
from pipeline.workflows.convert import convert
from pipeline.workflows.deidentify import deidentify
from pipeline.workflows.inspect import inspect

CODE = ("91723000", "SCT", "Anatomical Structure")
SEGMENTS = tuple(Segment(value=value, name=f"N{value}", category=CODE, property_type=CODE) for value in (1, 2))
SHAPE = (12, 10, 3)
VALUES = [
    *(b"", b"yesterday", b"\\", b"nan", b"inf\\inf", b"1e400", b"-1", b"0", b"99999999999", b"\xff\xfe\0\x80"),
    *(b"1\\2\\3\\4\\5\\6\\7\\8", b"x" * 70000, b"ISO_IR 999", b"1.2.840.10008.1.2.4.90", b"\0\0", b"\xff\xff"),
]
VRS = ["DS", "IS", "US", "SS", "OB", "OW", "UI", "CS", "LO", "PN", "DA", "UN", "FD", "AT", "FL", "UL", "ZZ"]
NAME = "Zyxwv^Secret"
ROUNDS = 25


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A series and one object of each kind."""
    folder = tmp_path_factory.mktemp("sound")
    series = write_phantom_dicom(make_phantom(1, shape=SHAPE), folder / "series")
    for path in series.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientName = NAME
        dataset.save_as(path)
    reader = CaseReader()
    _, meta = reader.get_data(reader.read(series))
    made = {"affine": meta["affine"], "source_files": sorted(series.iterdir()), "segments": SEGMENTS}
    write_segmentation(_labels(), path=folder / "binary.dcm", **made)
    write_segmentation(_labels(), path=folder / "labelmap.dcm", segmentation_type="labelmap", **made)
    write_rtstruct(_labels(), path=folder / "contours.dcm", **made)
    grey = (np.arange(120).reshape(10, 12) * 100).astype(np.uint16)
    write_radiograph(folder / "grey.dcm", grey, WindowCenter="100", WindowWidth="300", PatientName=NAME)
    write_radiograph(folder / "colour.dcm", np.stack([grey.astype(np.uint8)] * 3, -1), PatientName=NAME)
    return folder


def _labels() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:6, 3:6, :2], labels[7:9, 3:6, 1:] = 1, 2
    return labels


def _elements(dataset: Dataset) -> Iterator[tuple[Dataset, int]]:
    for tag in list(dataset.keys()):
        yield dataset, tag
        if dataset[tag].VR == "SQ":
            for item in dataset[tag].value:
                yield from _elements(item)


def _alter(dataset: Dataset, dice: random.Random) -> None:
    """Drop an element, give it another value or representation, or empty or lengthen a sequence."""
    places = list(_elements(dataset))
    sequences = [place for place in places if place[0][place[1]].VR == "SQ"]
    how = dice.choice(["drop", "value", "value", "representation", "empty", "longer"])
    if how in ("empty", "longer") and sequences:
        parent, tag = dice.choice(sequences)
        items = list(parent[tag].value)
        items = [Dataset()] * dice.randint(0, 1) if how == "empty" else items + items[-1:]
        parent[tag] = DataElement(tag, "SQ", Sequence(items))
        return
    parent, tag = dice.choice(places)
    value = dice.choice(VALUES)
    value += b" " * (len(value) % 2)
    vr = dice.choice(VRS) if how == "representation" else parent[tag].VR
    if how == "drop":
        del parent[tag]
    else:
        parent[tag] = RawDataElement(tag, "UN" if vr == "SQ" else vr, len(value), value, 0, False, True)


def _write_altered(source: Path, target: Path, dice: random.Random) -> bool:
    dataset = pydicom.dcmread(source)
    try:
        for _ in range(dice.choice([1, 1, 2, 3])):
            _alter(dataset, dice)
        dataset.save_as(target)
    except Exception:  # noqa: BLE001 - pydicom cannot write it
        return False
    content = bytearray(target.read_bytes())
    if dice.random() < 0.2:
        content[dice.randrange(132, len(content))] ^= 1 << dice.randrange(8)
    elif dice.random() < 0.1:
        del content[dice.randrange(140, len(content)) :]
    target.write_bytes(content)
    return True


def _one_line(act: Callable[[], object]) -> None:
    try:
        act()
    except InputError as error:
        message = str(error)
        assert "\n" not in message
        assert "Secret" not in message
        assert not any(word in message for word in ("has no attribute", "NoneType", "out of range")), message


def _read(path: Path, dimensions: int = 3) -> None:
    reader = CaseReader(dimensions=dimensions)
    reader.get_data(reader.read(path))


def _uses(kind: str, sound: Path, folder: Path, out: Path) -> list[Callable[[], object]]:
    path = folder / "altered.dcm"
    uses: list[Callable[[], object]] = [lambda: inspect(folder), lambda: deidentify(folder, out / "clean")]
    if kind in ("grey", "colour"):
        return [*uses, lambda: _read(path, 2), lambda: _read(folder, 2)]
    if kind != "series":
        on_series = partial(convert, path, out / "mask.nii.gz", reference=sound / "series")
        return [*uses, on_series, lambda: convert(path, out / "mask.nii.gz"), lambda: _read(path)]
    reader = CaseReader()
    affine = reader.get_data(reader.read(sound / "series"))[1]["affine"]
    made = {"affine": affine, "source_files": sorted(folder.iterdir()), "segments": SEGMENTS}
    writers = (write_segmentation, write_rtstruct, write_measurement_report)
    uses += [partial(write, _labels(), path=out / f"{write.__name__}.dcm", **made) for write in writers]
    return [*uses, lambda: _read(folder), lambda: convert(folder, out / "image.nii.gz")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["series", "binary", "labelmap", "contours", "grey", "colour"])
def test_an_altered_file_is_a_result_or_one_line(kind: str, sound: Path, tmp_path: Path) -> None:
    tried = 0
    for number in range(ROUNDS):
        dice = random.Random(f"{kind} {number}")  # noqa: S311
        folder, out = tmp_path / "in", tmp_path / "out"
        for old in (folder, out):
            shutil.rmtree(old, ignore_errors=True)
            old.mkdir()
        first, *others = sorted((sound / "series").iterdir()) if kind == "series" else [sound / f"{kind}.dcm"]
        for other in others:
            shutil.copy(other, folder)
        if not _write_altered(first, folder / "altered.dcm", dice):
            continue
        tried += 1
        for use in _uses(kind, sound, folder, out):
            _one_line(use)
    assert tried > ROUNDS / 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["series", "binary", "labelmap", "contours", "grey"])
def test_sequences_within_sequences(kind: str, sound: Path, tmp_path: Path) -> None:
    source = next((sound / "series").iterdir()) if kind == "series" else sound / f"{kind}.dcm"
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    content = source.read_bytes()
    sequence, item = bytes.fromhex("400030a7 53510000 ffffffff"), bytes.fromhex("feff00e0 ffffffff")
    at = content.find(b"\xe0\x7f\x10\x00")  # before the pixels
    at = len(content) if at < 0 else at
    ends = bytes.fromhex("feff0de0 00000000 feffdde0 00000000")
    (folder / "altered.dcm").write_bytes(content[:at] + (sequence + item) * 3000 + ends * 3000 + content[at:])
    for use in _uses(kind, sound, folder, out):
        _one_line(use)


@pytest.mark.parametrize("kind", ["binary", "contours"])
def test_a_deflated_label_object_that_fills_the_memory(
    kind: str, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = pydicom.dcmread(sound / f"{kind}.dcm")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.add_new(0x00091001, "OB", bytes(50_000_000))
    dataset.save_as(tmp_path / "bomb.dcm")
    monkeypatch.setattr(deflated, "available_bytes", lambda: 1e8)
    with pytest.raises(InputError, match="inflates to more than the memory can take"):
        convert(tmp_path / "bomb.dcm", tmp_path / "mask.nii.gz", reference=sound / "series")

from __future__ import annotations

import csv
import json
import logging

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import pipeline.workflows.deidentify as module
from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.dicom import (
    DicomSeriesReader,
    Grid,
    Segment,
    choose,
    read_labels,
    referenced_series,
    scan,
    write_segmentation,
)
from pipeline.errors import InputError
from pipeline.workflows.deidentify import deidentify

NAME, PATIENT_ID, BIRTH_DATE = "Zyxwvut^Qponml", "SECRET-90210", "19511203"
TOKENS = (b"zyxwvut", b"qponml", b"secret", b"19511203")
CATEGORY, KIND = ("123037004", "SCT", "Anatomical Structure"), ("64033007", "SCT", "Kidney")


def phantom_series(folder, seed=3, **values):
    phantom = make_phantom(seed, shape=(16, 14, 5), spacing_mm=(4.0, 5.0, 6.0))
    write_phantom_dicom(phantom, folder)
    stated = {"PatientName": NAME, "PatientID": PATIENT_ID, "PatientBirthDate": BIRTH_DATE} | values
    for path in folder.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for keyword, value in stated.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
    return folder


def read(source):
    reader = DicomSeriesReader()
    return reader.get_data(reader.read(source))


def audit(folder):
    with (folder / "audit.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def of_class(path, uid, **values):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientName, dataset.PatientID = NAME, PATIENT_ID
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def everything_in(folder) -> bytes:
    """All names and all bytes below a folder, in lower case."""
    paths = sorted(folder.rglob("*"))
    names = "\n".join(str(path.relative_to(folder)) for path in paths).encode()
    return (names + b"".join(path.read_bytes() for path in paths if path.is_file())).lower()


def test_a_folder(tmp_path):
    phantom_series(tmp_path / "in" / "Zyxwvut" / "one")
    phantom_series(tmp_path / "in" / "Zyxwvut" / "two", seed=4)
    phantom_series(tmp_path / "in" / "other", seed=5, PatientID="SECRET-2")
    done = deidentify(tmp_path / "in", tmp_path / "out")
    assert (done.files, done.patients) == (15, 2)
    assert (done.passed_over, done.failures) == ({}, {})
    folders = {str(path.parent.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.dcm")}
    assert folders == {"subject-0001/1", "subject-0001/1-2", "subject-0002/1"}, "two series with one number"
    assert {path.name for path in (tmp_path / "out").rglob("*.dcm")} == {f"{n:06d}.dcm" for n in range(1, 6)}
    assert not [token for token in TOKENS if token in everything_in(tmp_path / "out")]
    rows = audit(tmp_path / "out")
    assert [row["file"] for row in rows] == [str(number) for number in range(1, 16)]
    assert {row["result"] for row in rows} == {"written"}
    assert {row["kind"] for row in rows} == {"CT Image"}
    assert {row["removed"] for row in rows} == {"1"}, "SeriesDescription"
    assert {row["uids"] for row in rows} == {"4"}, "of the study, series, instance and frame of reference"
    assert {(tmp_path / "out" / row["new_path"]).is_file() for row in rows} == {True}
    first = next(iter(sorted((tmp_path / "in").rglob("*.dcm"), key=str)))
    pixels = pydicom.dcmread(tmp_path / "out" / rows[0]["new_path"]).PixelData
    assert pixels == pydicom.dcmread(first).PixelData, "rows are numbered by path"


def test_real_series_load_as_before(shared_data, tmp_path):
    """Voxels, places and rescaling, and contours that still find their series."""
    source = shared_data / "STS_Sarcoma" / "STS_001"
    done = deidentify(source, tmp_path / "out")
    assert done.failures == done.passed_over == {}
    after = {one.modality: one for one in scan(tmp_path / "out").series}
    structures = {}
    for path in (tmp_path / "out").rglob("*.dcm"):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        if dataset.Modality == "RTSTRUCT":
            structures[referenced_series(path)] = path
    for modality, folder in (("CT", "CT"), ("MR", "MR_T1"), ("PT", "PET")):
        array, meta = read(source / folder / "image")
        new_array, new_meta = read([str(path) for path in after[modality].files])
        np.testing.assert_array_equal(new_array, array)
        np.testing.assert_array_equal(new_meta["affine"], meta["affine"])
        old_series = choose(scan(source / folder / "image"))
        assert after[modality].series_uid != old_series.series_uid
        for old, new in zip(old_series.files, after[modality].files, strict=True):
            one, other = pydicom.dcmread(old), pydicom.dcmread(new)
            assert one.PixelData == other.PixelData
            for keyword in ("DecayCorrection", "Units", "RescaleSlope", "CorrectedImage", "DecayFactor", "ImageType"):
                assert one.get(keyword) == other.get(keyword)
        labels = read_labels(
            source / folder / "rtstruct" / "RS.dcm", names={1: [f"gtv_mass_{folder}"]}, grid=Grid.of_series(old_series)
        )
        new_labels = read_labels(
            structures[(after[modality].series_uid,)],
            names={1: [f"gtv_mass_{folder}"]},
            grid=Grid.of_series(after[modality]),
        )
        assert labels.any()
        np.testing.assert_array_equal(new_labels, labels)


def test_a_segmentation_keeps_its_series(tmp_path):
    folder = phantom_series(tmp_path / "in" / "image")
    array, meta = read(folder)
    labels = (array > 50).astype(np.uint8)
    write_segmentation(
        labels,
        affine=meta["affine"],
        source_files=meta["dicom_files"].split("\n"),
        segments=[Segment(value=1, name="Kidney", category=CATEGORY, property_type=KIND)],
        path=tmp_path / "in" / "seg.dcm",
    )
    deidentify(tmp_path / "in", tmp_path / "out")
    series = choose(scan(tmp_path / "out"))
    (path,) = (row["new_path"] for row in audit(tmp_path / "out") if row["kind"] == "Segmentation")
    assert referenced_series(tmp_path / "out" / path) == (series.series_uid,)
    found = read_labels(tmp_path / "out" / path, names={1: ["Kidney"]}, grid=Grid.of_series(series))
    np.testing.assert_array_equal(found, labels)

    volume = highdicom.seg.segread(tmp_path / "out" / path)
    instances = {pydicom.dcmread(file).SOPInstanceUID for file in series.files}
    assert {uids[2] for uids in volume.get_source_image_uids()} == instances
    np.testing.assert_array_equal(volume.get_volume(combine_segments=True).array.transpose(2, 1, 0), labels)
    assert not [token for token in TOKENS if token in everything_in(tmp_path / "out")]


def test_what_is_left_out(tmp_path, caplog, capfd):
    source = phantom_series(tmp_path / "in")
    whole = sorted(source.glob("*.dcm"))
    cut = whole[0].read_bytes()
    (source / "Zyxwvut_cut.dcm").write_bytes(cut[: len(cut) * 3 // 4])
    (source / "Zyxwvut_header.dcm").write_bytes(cut[:700])
    (source / "Zyxwvut_empty.dcm").touch()
    (source / "Zyxwvut.txt").write_text(NAME)
    of_class(source / "report", "1.2.840.10008.5.1.4.1.1.88.11", ContentSequence=[])
    of_class(source / "document", "1.2.840.10008.5.1.4.1.1.104.1", EncapsulatedDocument=b"Zyxwvut\0")
    of_class(source / "capture", "1.2.840.10008.5.1.4.1.1.7")
    of_class(source / "state", "1.2.840.10008.5.1.4.1.1.11.1")
    of_class(source / "private", "1.2.3.4.5")
    of_class(source / "DICOMDIR", "1.2.840.10008.1.3.10")
    of_class(source / "Zyxwvut_lost.dcm", "1.2.840.10008.5.1.4.1.1.2", SeriesInstanceUID="")
    of_class(source / "Zyxwvut_pixels.dcm", "1.2.840.10008.5.1.4.1.1.2", Rows=4)
    with caplog.at_level(logging.DEBUG):
        done = deidentify(source, tmp_path / "out")
    assert (done.files, done.patients) == (5, 1)
    assert "wrote 5 of 17 files, of 1 patient(s), into" in str(done)
    assert str(done) in caplog.text, "it is told"
    assert done.passed_over == {
        "not DICOM": 1,
        "DICOMDIR": 1,
        "Basic Text SR: its text cannot be cleaned": 1,
        "Encapsulated PDF: its text cannot be cleaned": 1,
        "Secondary Capture Image: its text cannot be cleaned": 1,
        "Grayscale Softcopy Presentation State: its text cannot be cleaned": 1,
        "of no standard kind: its text cannot be cleaned": 1,
    }
    reasons = sorted(done.failures.values())
    assert [reason.split(".")[0] for reason in reasons] == [
        "the file is not DICOM, whatever its name says",
        "the file is truncated",
        "the file is truncated",
        "the file names no instance, series or study",
        "the file names no instance, series or study",
    ]
    rows = {row["file"]: row for row in audit(tmp_path / "out")}
    assert {name.removeprefix("file "): reason for name, reason in done.failures.items()} == {
        number: row["reason"] for number, row in rows.items() if row["result"] == "failed"
    }
    shown = "".join(capfd.readouterr()) + caplog.text + str(done) + str(done.failures)
    assert "text burned into them and faces that they show stay" in str(done)
    assert not [token for token in TOKENS if token in everything_in(tmp_path / "out") + shown.lower().encode()]


def test_a_value_that_pydicom_cannot_decode(tmp_path):
    """Its text is in pydicom's error, and must not be in ours; what need not be decoded stays as it is."""
    source = phantom_series(tmp_path / "in")
    first, second = sorted(source.glob("*.dcm"))[:2]
    for path, keyword in ((first, "SeriesNumber"), (second, "KVP")):
        dataset = pydicom.dcmread(path)
        tag = dataset[keyword].tag
        dataset[tag] = pydicom.DataElement(tag, "LO", "Zyxwvut")
        dataset.save_as(path)
    done = deidentify(source, tmp_path / "out")
    assert done.failures == {}
    assert b"zyxwvut" not in everything_in(tmp_path / "out")


def test_a_failure_to_decode_is_told_without_the_value(tmp_path, monkeypatch):
    source = phantom_series(tmp_path / "in")
    work = module.deidentify_dataset
    calls = iter(range(9))

    def fail(dataset, *arguments, **options):
        if next(calls) == 1:
            raise ValueError(f"cannot convert {NAME}")
        return work(dataset, *arguments, **options)

    monkeypatch.setattr(module, "deidentify_dataset", fail)
    done = deidentify(source, tmp_path / "out")
    assert done.failures == {"file 2": "the file cannot be read (got ValueError)"}
    assert done.files == 4


def test_warnings(tmp_path):
    source = phantom_series(tmp_path / "in" / "a", BodyPartExamined="HEAD")
    phantom_series(tmp_path / "in" / "b", seed=4, BurnedInAnnotation="YES")
    phantom_series(tmp_path / "in" / "c", seed=5, Modality="US")
    phantom_series(tmp_path / "in" / "d", seed=6, Modality="US", BurnedInAnnotation="NO")
    done = deidentify(source.parent, tmp_path / "out")
    assert (done.faces, done.burned_in) == (5, 10)
    assert "5 files show the head" in str(done)
    assert "10 files have burned-in text" in str(done)
    notes = {row["note"] for row in audit(tmp_path / "out")}
    assert notes == {"", "burned-in text is likely", "a face is likely"}
    stated = {pydicom.dcmread(path).get("BurnedInAnnotation") for path in (tmp_path / "out").rglob("*.dcm")}
    assert stated == {None, "YES", "NO"}, "it stays as it was"


def test_runs_that_agree(tmp_path, caplog):
    phantom_series(tmp_path / "in")
    (tmp_path / "key").write_bytes(bytes(range(32)))
    results = []
    for number in range(2):
        deidentify(tmp_path / "in", tmp_path / f"keyed{number}", key=tmp_path / "key")
        deidentify(tmp_path / "in", tmp_path / f"mapped{number}", uid_map=tmp_path / "map.json")
        deidentify(tmp_path / "in", tmp_path / f"random{number}")
        results.append({kind: everything_in(tmp_path / f"{kind}{number}") for kind in ("keyed", "mapped", "random")})
    assert results[0]["keyed"] == results[1]["keyed"]
    assert results[0]["mapped"] == results[1]["mapped"]
    assert results[0]["random"] != results[1]["random"]
    assert caplog.text.count("identifies the patients again") == 2
    known = json.loads((tmp_path / "map.json").read_text())
    old = pydicom.dcmread(next((tmp_path / "in").glob("*.dcm"))).SeriesInstanceUID
    assert known["uids"][old] == choose(scan(tmp_path / "mapped0")).series_uid


@pytest.mark.parametrize(
    ("source", "output", "options", "message"),
    [
        ("none", "out", {}, "no such file or folder"),
        ("in", "in", {}, "lies in the folder to copy"),
        ("in", "in/out", {}, "lies in the folder to copy"),
        ("in", ".", {}, "is not an empty folder"),
        ("in", "in/file.txt", {}, "lies in the folder"),
        ("in", "full", {}, "is not an empty folder"),
        ("in", "out", {"prefix": "../x"}, "prefix cannot be used"),
        ("in", "out", {"prefix": ""}, "prefix cannot be used"),
        ("in", "out", {"uid_map": "out/map.json"}, "would be shared with the copies"),
        ("in", "out", {"key": "none"}, "the key cannot be read"),
        ("empty", "out", {}, r"no file could be copied .*got 1 other files"),
    ],
)
def test_what_cannot_be_used(tmp_path, source, output, options, message):
    (tmp_path / "in").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    for folder in ("in", "empty", "full"):
        (tmp_path / folder / "file.txt").touch()
    options = {name: value if name == "prefix" else tmp_path / value for name, value in options.items()}
    with pytest.raises(InputError, match=message):
        deidentify(tmp_path / source, tmp_path / output, **options)


def test_an_interruption_leaves_whole_files_and_the_audit(tmp_path, monkeypatch):
    source = phantom_series(tmp_path / "in")
    write = pydicom.dataset.FileDataset.save_as
    calls = iter(range(9))

    def interrupted(self, path, **options):
        if next(calls) == 2:
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        write(self, path, **options)

    monkeypatch.setattr(pydicom.dataset.FileDataset, "save_as", interrupted)
    with pytest.raises(KeyboardInterrupt):
        deidentify(source, tmp_path / "out", uid_map=tmp_path / "map.json")
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert files == ["audit.csv", "subject-0001/1/000001.dcm", "subject-0001/1/000002.dcm"]
    assert len(audit(tmp_path / "out")) == 3
    assert len(json.loads((tmp_path / "map.json").read_text())["uids"]) == 6


def test_a_full_disk_ends_the_run(tmp_path, monkeypatch):
    source = phantom_series(tmp_path / "in")

    def full(self, path, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pydicom.dataset.FileDataset, "save_as", full)
    with pytest.raises(InputError, match=r"cannot be written .*No space left"):
        deidentify(source, tmp_path / "out")

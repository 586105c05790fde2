"""TID 1500 reports, walked with pydicom alone and read by highdicom."""

from __future__ import annotations

import csv
import logging
import subprocess
import warnings

import numpy as np
import pydicom
import pytest
from dicom_altered import tilted
from dicom_altered.series import KINDS
from dicom_altered.slices import CANARIES
from highdicom.sr import srread
from interoperability.programs import find_program
from matplotlib.path import Path as Outline
from scipy.ndimage import gaussian_filter

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.dicom import DicomSeriesReader, Segment, choose, scan, write_measurement_report, write_segmentation
from pipeline.errors import InputError
from pipeline.reports import write_measurements

ORGAN = ("123037004", "SCT", "Anatomical Structure")
CHANGED = ("49755003", "SCT", "Morphologically Altered Structure")
LEFT, ANTERIOR = ("7771000", "SCT", "Left"), ("255549009", "SCT", "Anterior")
SEGMENTS = (
    Segment(value=1, name="Kidney", category=ORGAN, property_type=("64033007", "SCT", "Kidney"), modifier=LEFT),
    Segment(value=7, name="Liver", category=ORGAN, property_type=("10200004", "SCT", "Liver"), modifier=ANTERIOR),
    Segment(value=2, name="Läsion", category=CHANGED, property_type=("52988006", "SCT", "Lesion")),
)
VOLUME, DIAMETER, LONG_AXIS = ("118565006", "SCT"), ("81827009", "SCT"), ("103339001", "SCT")
MEAN, DEVIATION, MAXIMUM = ("373098007", "SCT"), ("386136009", "SCT"), ("56851009", "SCT")
HU, SIGNAL, SUV = ("112031", "DCM"), ("110852", "DCM"), ("126400", "DCM")


def code(items):
    return items[0].CodeValue, items[0].CodingSchemeDesignator


def children(item, name):
    return [child for child in item.ContentSequence if code(child.ConceptNameCodeSequence)[0] == name]


def groups(path):
    """The measurement groups of a report, by the names that they track."""
    report = pydicom.dcmread(path)
    assert (report.Modality, code(report.ConceptNameCodeSequence)) == ("SR", ("126000", "DCM"))
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    (measurements,) = children(report, "126010")
    return {children(group, "112039")[0].TextValue: group for group in children(measurements, "125007")}


def numbers(group):
    """For each (name, derivation) the value and its unit."""
    found = {}
    for item in group.ContentSequence:
        if item.ValueType == "NUM":
            (measured,) = item.MeasuredValueSequence
            derivations = [code(child.ConceptCodeSequence) for child in item.get("ContentSequence", ())
                           if code(child.ConceptNameCodeSequence) == ("121401", "DCM")]  # fmt: skip
            key = code(item.ConceptNameCodeSequence), *derivations
            found[key] = float(measured.NumericValue), code(measured.MeasurementUnitsCodeSequence)
    return found


def read(folder, series=None):
    reader = DicomSeriesReader(series=series)
    return reader.get_data(reader.read(folder))


def write(labels, meta, path, **kwargs):
    arguments = {
        "affine": meta["affine"],
        "source_files": meta["dicom_files"].split("\n")[::-1],
        "series": meta["dicom_series"],
        "segments": SEGMENTS,
    }
    return write_measurement_report(labels, path=path, **(arguments | kwargs))


def errors(path) -> list[str]:
    done = subprocess.run([find_program("dciodvfy"), "-new", path], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert "Comprehensive3DSR" in output or "Error" in output
    return [line for line in output.splitlines() if line.startswith("Error")]


@pytest.fixture
def phantom(tmp_path):
    phantom = make_phantom(3, shape=(40, 36, 12), spacing_mm=(3.0, 3.5, 6.0))
    write_phantom_dicom(phantom, tmp_path / "study")
    return phantom


@pytest.mark.parametrize("with_segmentation", [False, True])
def test_against_the_table_and_numpy(phantom, with_segmentation, tmp_path):
    array, meta = read(tmp_path / "study")
    labels = phantom.labels
    arguments = {"affine": meta["affine"], "segments": SEGMENTS}
    table = write_measurements(labels, path=tmp_path / "m.csv", image=array, **arguments)
    rows = {row["name"]: row for row in csv.DictReader(table.open(encoding="utf-8"))}
    seg = None
    if with_segmentation:
        files = sorted((tmp_path / "study").glob("*.dcm"))
        seg = write_segmentation(labels, source_files=files, path=tmp_path / "seg.dcm", **arguments)
    path = write(labels, meta, tmp_path / "sr.dcm", segmentation=seg)
    found = groups(path)
    assert list(found) == ["Kidney", "Läsion"]
    for name, value in (("Kidney", 1), ("Läsion", 2)):
        measured, row = numbers(found[name]), rows[name]
        volume, unit = measured[VOLUME,]
        assert unit == ("ml", "UCUM")
        assert volume == pytest.approx((labels == value).sum() * 3.0 * 3.5 * 6.0 / 1000, abs=1e-6)
        assert volume == pytest.approx(float(row["volume_ml"]), abs=0.01)
        inside = phantom.image[labels == value].astype(float)
        mean, unit = measured[HU, MEAN]
        assert (mean, unit) == (pytest.approx(inside.mean(), abs=1e-3), ("[hnsf'U]", "UCUM"))
        assert mean == pytest.approx(float(row["mean"]), abs=1e-4)
        assert measured[HU, DEVIATION][0] == pytest.approx(inside.std(), abs=1e-3)
        assert measured[DIAMETER, MAXIMUM] == (pytest.approx(float(row["largest_diameter_mm"])), ("mm", "UCUM"))
        assert measured[LONG_AXIS,] == (pytest.approx(float(row["long_axis_mm"])), ("mm", "UCUM"))
        assert len(measured) == 5
    if with_segmentation:
        segmentation = pydicom.dcmread(seg)
        described = {item.SegmentLabel: item.SegmentNumber for item in segmentation.SegmentSequence}
        for name, group in found.items():
            (referenced,) = children(group, "121191")
            (image,) = referenced.ReferencedSOPSequence
            assert image.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
            assert image.ReferencedSegmentNumber == described[name]
            (series,) = children(group, "121232")
            assert meta["dicom_series_uid"] == series.UID
    assert errors(path) == []


def test_the_outlines_hold_the_labels(phantom, tmp_path):
    """SCOORD has the centre of the first pixel at 0.5."""
    _array, meta = read(tmp_path / "study")
    found = groups(write(phantom.labels, meta, tmp_path / "sr.dcm"))
    places = {}
    for file in (tmp_path / "study").glob("*.dcm"):
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        z = float(dataset.ImagePositionPatient[2])
        places[dataset.SOPInstanceUID] = round((z - meta["affine"][2, 3]) / meta["affine"][2, 2])
    centres = np.stack(np.meshgrid(range(40), range(36), indexing="ij"), axis=-1).reshape(-1, 2) + 0.5
    for name, value in (("Kidney", 1), ("Läsion", 2)):
        mask = np.zeros(phantom.labels.shape, dtype=bool)
        for region in children(found[name], "111030"):
            assert (region.ValueType, region.GraphicType) == ("SCOORD", "POLYLINE")
            points = np.array(region.GraphicData).reshape(-1, 2)
            np.testing.assert_array_equal(points[0], points[-1])
            k = places[region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID]
            mask[:, :, k] ^= Outline(points).contains_points(centres).reshape(40, 36)
        np.testing.assert_array_equal(mask, phantom.labels == value)


def test_what_is_said_about_each_label(phantom, tmp_path):
    _array, meta = read(tmp_path / "study")
    labels = phantom.labels.copy()
    labels[:3, :3, :3] = 7
    path = write(labels, meta, tmp_path / "sr.dcm")
    found = groups(path)
    expected = {"Kidney": ("64033007", ORGAN), "Liver": ("10200004", ORGAN), "Läsion": ("52988006", CHANGED)}
    tracked = set()
    for name, (finding, category) in expected.items():
        group = found[name]
        assert group.ContentTemplateSequence[0].TemplateIdentifier == "1411"
        assert code(children(group, "121071")[0].ConceptCodeSequence) == (finding, "SCT")
        assert code(children(group, "276214006")[0].ConceptCodeSequence) == category[:2]
        tracked.add(children(group, "112040")[0].UID)
        sites = children(group, "363698007")
        assert [code(site.ConceptCodeSequence)[0] for site in sites] == ([finding] if category == ORGAN else [])
    assert len(tracked) == 3
    (kidney,) = children(found["Kidney"], "363698007")[0].ContentSequence
    assert (code(kidney.ConceptNameCodeSequence)[0], code(kidney.ConceptCodeSequence)[0]) == ("272741003", "7771000")
    (liver,) = children(found["Liver"], "363698007")[0].ContentSequence
    assert (code(liver.ConceptNameCodeSequence)[0], code(liver.ConceptCodeSequence)[0]) == ("106233006", "255549009")
    report = pydicom.dcmread(path)
    source = pydicom.dcmread(next((tmp_path / "study").glob("*.dcm")))
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "StudyDate"):
        assert report[keyword].value == source[keyword].value
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert len(series.ReferencedSOPSequence) == 12


def test_letters_that_the_source_has_not(study, tmp_path):
    def name(dataset, _index):
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.PatientName = "Müller^Jörg"

    study.alter(name)
    array, meta = read(study.folder)
    labels = np.zeros(array.shape, dtype=np.uint8)
    labels[4:9, 3:7, 2:4] = 1
    described = [Segment(value=1, name="почка", category=ORGAN, property_type=("64033007", "SCT", "Kidney"))]
    path = write(labels, meta, tmp_path / "sr.dcm", segments=described)
    assert list(groups(path)) == ["почка"]
    assert pydicom.dcmread(path).PatientName == "Müller^Jörg"


def test_highdicom_reads_it(phantom, tmp_path):
    _array, meta = read(tmp_path / "study")
    report = srread(write(phantom.labels, meta, tmp_path / "sr.dcm"))
    found = report.content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_identifier for group in found] == ["Kidney", "Läsion"]
    (volume,) = found[1].get_measurements(name=pydicom.sr.coding.Code(*VOLUME, "Volume"))
    assert volume.value == pytest.approx((phantom.labels == 2).sum() * 63 / 1000)
    assert found[0].finding_type.value == "64033007"


def test_labels_without_voxels(phantom, tmp_path):
    _array, meta = read(tmp_path / "study")
    path = write(np.zeros_like(phantom.labels), meta, tmp_path / "sr.dcm")
    for group in groups(path).values():
        assert numbers(group) == {(VOLUME,): (0.0, ("ml", "UCUM"))}
    assert len(groups(path)) == 3
    assert errors(path) == []
    assert srread(path).content.get_volumetric_roi_measurement_groups() == []


@pytest.mark.parametrize(
    ("values", "name", "unit"),
    [
        ({"Modality": "CT", "RescaleType": "HU"}, HU, "[hnsf'U]"),
        ({"Modality": "CT", "RescaleType": "Z_EFF"}, None, None),
        ({"Modality": "MR"}, SIGNAL, "1"),
        ({"Modality": "PT", "Units": "BQML"}, ("110821", "DCM"), "Bq/ml"),
        ({"Modality": "PT", "Units": "GML"}, SUV, "g/ml{SUVbw}"),
        ({"Modality": "PT", "Units": "GML", "SUVType": "LBM"}, SUV, "g/ml{SUVlbm}"),
        ({"Modality": "PT", "Units": "UNKNOWN"}, None, None),
        ({"Modality": "OT"}, None, None),
    ],
)
def test_units(study, values, name, unit, tmp_path):
    def change(dataset, _index):
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, -3
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    study.alter(change)
    array, meta = read(study.folder)
    labels = np.zeros(array.shape, dtype=np.uint8)
    labels[4:9, 3:7, 2:4] = 1
    measured = numbers(groups(write(labels, meta, tmp_path / "sr.dcm"))["Kidney"])
    if name is None:
        assert set(measured) == {(VOLUME,), (DIAMETER, MAXIMUM), (LONG_AXIS,)}
        return
    stored = np.stack([dataset.pixel_array.T for dataset in study.read()[::-1]], axis=-1)
    expected = (0.5 * stored - 3)[4:9, 3:7, 2:4]
    assert measured[name, MEAN] == (pytest.approx(expected.mean()), (unit, "UCUM"))
    assert measured[name, DEVIATION] == (pytest.approx(expected.std()), (unit, "UCUM"))


@pytest.mark.parametrize("name", ["oblique", "enhanced_shuffled_ct", "enhanced_mr", "single_slice"])
def test_kinds_of_sources(name, tmp_path):
    KINDS[name].make(tmp_path / "series")
    array, meta = read(tmp_path / "series")
    field = gaussian_filter(np.random.default_rng(1).normal(size=array.shape), 2)
    labels = np.digitize(field, np.quantile(field, [0.8, 0.9])).astype(np.uint8)
    path = write(labels, meta, tmp_path / "sr.dcm")
    found = groups(path)
    for segment, value in (("Kidney", 1), ("Läsion", 2)):
        measured = numbers(found[segment])
        voxel_ml = abs(np.linalg.det(meta["affine"][:3, :3])) / 1000
        assert measured[VOLUME,][0] == pytest.approx((labels == value).sum() * voxel_ml)
        (mean,) = [number for (_name, *derived), (number, _unit) in measured.items() if derived == [MEAN]]
        assert mean == pytest.approx(array[labels == value].mean(), rel=1e-5)
    assert errors(path) == []


def test_tilted_slices_as_acquired(tmp_path):
    tilted.KINDS[0].write(tmp_path / "series")
    series = choose(scan(tmp_path / "series"))
    slices, rows, columns = series.tilted.geometry.spatial_shape
    labels = np.zeros((columns, rows, slices), dtype=np.uint8)
    labels[3:8, 4:9, 1:-1] = 1
    path = write_measurement_report(
        labels, affine=series.tilted.ras_affine, source_files=series.files, segments=SEGMENTS, path=tmp_path / "sr.dcm"
    )
    measured = numbers(groups(path)["Kidney"])
    values = [pydicom.dcmread(header.path) for header in series.tilted.headers]
    rescaled = [one.pixel_array.T * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in values]
    assert measured[HU, MEAN][0] == pytest.approx(np.stack(rescaled, axis=-1)[labels == 1].mean(), rel=1e-5)


def test_refusals(phantom, tmp_path):
    _array, meta = read(tmp_path / "study")
    source = next((tmp_path / "study").glob("*.dcm"))
    with pytest.raises(InputError, match="is not a segmentation"):
        write(phantom.labels, meta, tmp_path / "sr.dcm", segmentation=source)
    others = [Segment(value=s.value, name=f"{s.name} x", category=ORGAN, property_type=ORGAN) for s in SEGMENTS]
    files = meta["dicom_files"].split("\n")
    seg = write_segmentation(
        phantom.labels, affine=meta["affine"], source_files=files, segments=others, path=tmp_path / "seg.dcm"
    )
    with pytest.raises(InputError, match="has no segments of the name 'Kidney'"):
        write(phantom.labels, meta, tmp_path / "sr.dcm", segmentation=seg)
    with pytest.raises(InputError, match="no segment describes"):
        write(phantom.labels, meta, tmp_path / "sr.dcm", segments=SEGMENTS[:1])
    assert not (tmp_path / "sr.dcm").exists()
    (tmp_path / "sr.dcm").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write(phantom.labels, meta, tmp_path / "sr.dcm")


def test_nothing_of_the_patient_is_told(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    KINDS["oblique"].make(tmp_path / "series")
    for file in (tmp_path / "series").iterdir():
        dataset = pydicom.dcmread(file)
        dataset.PatientName = CANARIES[0]  # one part alone, which highdicom doubts
        dataset.save_as(file)
    array, meta = read(tmp_path / "series")
    labels = np.zeros(array.shape, dtype=np.uint8)
    labels[3:6, 3:6, 3:6] = 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = write(labels, meta, tmp_path / "sr.dcm")
    told = (caplog.text + path.name + " ".join(str(one.message) for one in caught)).casefold()
    assert not any(canary in told for canary in CANARIES)
    assert pydicom.dcmread(path).PatientName == CANARIES[0]

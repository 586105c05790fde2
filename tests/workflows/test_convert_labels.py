"""Conversions of label maps, against SimpleITK, highdicom, nibabel and pydicom."""

from __future__ import annotations

import csv
import json

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, RTStructureSetStorage, generate_uid

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.errors import InputError
from pipeline.workflows.convert import convert
from pipeline.workflows.deidentify import deidentify


def table(path, content):
    path.write_text(json.dumps(content))
    return path


def by_highdicom(path) -> np.ndarray:
    return highdicom.seg.segread(path).get_volume(combine_segments=True).array.transpose(2, 1, 0)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_label_maps_of_other_programs(suffix, series, label_map, phantom, tmp_path):
    """SimpleITK turns and crops the labels; highdicom finds them on the source's slices."""
    image = SimpleITK.ReadImage(str(label_map))
    turned = SimpleITK.PermuteAxes(SimpleITK.Flip(image, [True, False, True]), [2, 0, 1])
    filled = np.argwhere(SimpleITK.GetArrayFromImage(turned))[:, ::-1]
    low, high = filled.min(axis=0), filled.max(axis=0) + 1
    cropped = turned[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    path = tmp_path / f"turned{suffix}"
    SimpleITK.WriteImage(cropped, str(path))
    (seg,) = convert(path, tmp_path / "seg.dcm", reference=series)
    np.testing.assert_array_equal(by_highdicom(seg), phantom.labels)
    dataset = pydicom.dcmread(seg)
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == ["Label 1", "Label 2"]
    assert dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "85756007"
    assert (
        dataset.ReferencedSeriesSequence[0].SeriesInstanceUID
        == pydicom.dcmread(next(series.iterdir())).SeriesInstanceUID
    )


def test_segmentation_options(series, label_map, phantom, tmp_path):
    (seg,) = convert(label_map, tmp_path / "a.dcm", reference=series, segmentation_type="labelmap")
    assert pydicom.dcmread(seg).file_meta.TransferSyntaxUID == RLELossless
    np.testing.assert_array_equal(by_highdicom(seg), phantom.labels)
    (small,) = convert(label_map, tmp_path / "b.dcm", reference=series, compression="deflated")
    (large,) = convert(label_map, tmp_path / "c.dcm", reference=series)
    assert small.stat().st_size < large.stat().st_size / 2
    np.testing.assert_array_equal(by_highdicom(small), by_highdicom(large))


KIDNEY = {
    "value": 1,
    "name": "Left kidney",
    "category": {"value": "123037004", "meaning": "Anatomical Structure"},
    "type": {"value": "64033007", "meaning": "Kidney"},
    "modifier": {"value": "7771000", "meaning": "Left"},
    "color": [200, 60, 40],
}
TABLES = {
    "list": [KIDNEY, {"value": 2, "name": "Lesion"}],
    "labels": {"labels": [{"value": 0, "name": "background"}, KIDNEY, {"value": 2, "name": "Lesion"}]},
    "mapping": {"1": "Left kidney", "2": "Lesion"},
    "nnU-Net": {"channel_names": {"0": "CT"}, "labels": {"background": 0, "Left kidney": 1, "Lesion": 2}},
    "decathlon": {"labels": {"0": "background", "1": "Left kidney", "2": "Lesion"}},
}


@pytest.mark.parametrize("form", TABLES)
def test_tables_of_labels(form, series, label_map, tmp_path):
    labels = table(tmp_path / "table.json", TABLES[form])
    (seg,) = convert(label_map, tmp_path / "seg.dcm", reference=series, labels=labels)
    kidney, lesion = pydicom.dcmread(seg).SegmentSequence
    assert (kidney.SegmentLabel, lesion.SegmentLabel) == ("Left kidney", "Lesion")
    if form in ("list", "labels"):
        code = kidney.SegmentedPropertyTypeCodeSequence[0]
        assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == ("64033007", "SCT", "Kidney")
        assert code.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
        assert "RecommendedDisplayCIELabValue" in kidney


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([{"value": 1}], r"labels\.0\.name: Field required"),
        ([{"value": 300, "name": "a"}], r"labels\.0\.value: .*less than or equal to 255 \(got 300\)"),
        ([{"value": 1, "name": "a", "colour": [1, 2, 3]}], r"labels\.0\.colour: unknown field"),
        ([{"value": 1, "name": "a"}, {"value": 1, "name": "b"}], r"values of their own, from 1 on .*got \[1, 1\]"),
        ({"labels": {"background": 0, "both": [1, 2]}}, r"'both' is no label"),
        ({"labels": {"background": 0}}, "names no label"),
        ("Liver", "is no table of labels"),
        ({"1": "Kidney"}, r"values that --labels does not name \(got \[2\]\)"),
    ],
)
def test_tables_that_cannot_be_used(content, words, series, label_map, tmp_path):
    labels = table(tmp_path / "table.json", content)
    with pytest.raises(InputError, match=words):
        convert(label_map, tmp_path / "seg.dcm", reference=series, labels=labels)
    assert not (tmp_path / "seg.dcm").exists()


def test_segmentation_to_nifti_and_back(series, label_map, phantom, tmp_path):
    (seg,) = convert(label_map, tmp_path / "a.dcm", reference=series, labels=table(tmp_path / "t.json", TABLES["list"]))
    path, names = convert(seg, tmp_path / "back.nii.gz")
    assert names == tmp_path / "back_labels.json"
    image = nib.load(path)
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(image.dataobj), phantom.labels)
    np.testing.assert_allclose(image.affine, phantom.affine, atol=1e-4)
    kidney, lesion = json.loads(names.read_text())["labels"]
    assert {key: kidney[key] for key in ("value", "name", "color")} == {
        "value": 1, "name": "Left kidney", "color": [200, 60, 40],
    }  # fmt: skip
    assert kidney["modifier"] == {"value": "7771000", "scheme": "SCT", "meaning": "Left"}
    assert "color" not in lesion
    (again,) = convert(path, tmp_path / "b.dcm", reference=series, labels=names)
    one, two = (pydicom.dcmread(file) for file in (seg, again))
    assert one.PixelData == two.PixelData
    assert one.SegmentSequence == two.SegmentSequence
    # On the grid of a series, and with values of one's own.
    other = table(tmp_path / "other.json", {"9": "lesion"})
    for reference in (None, series):
        path, _ = convert(seg, tmp_path / "lesion.nii", reference=reference, labels=other)
        np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), np.where(phantom.labels == 2, 9, 0))


def write_rtstruct(path, series, phantom):
    """Squares in the middle slice, drawn on the voxels 3 to 7 and 12 to 17."""
    source = pydicom.dcmread(next(series.iterdir()))
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, generate_uid()
    dataset.Modality, dataset.SeriesInstanceUID = "RTSTRUCT", generate_uid()
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, low, high) in enumerate((("Gross tumour", 3, 7), ("Point", 0, 0), ("Liver", 12, 17)), start=5):
        roi, drawn, contour = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, source.FrameOfReferenceUID
        a, b = low - 0.5, high + 0.5
        voxels = np.array([[a, a, 4, 1], [b, a, 4, 1], [b, b, 4, 1], [a, b, 4, 1]])
        points = (voxels @ phantom.affine.T)[:, :3] * (-1, -1, 1)
        contour.ContourGeometricType = "POINT" if name == "Point" else "CLOSED_PLANAR"
        contour.NumberOfContourPoints = len(points)
        contour.ContourData = [f"{value:.4f}" for value in points.ravel()]
        drawn.ReferencedROINumber, drawn.ContourSequence = number, [contour]
        drawn.ROIDisplayColor = [number, 20, 30]
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(drawn)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_rtstruct(series, phantom, tmp_path):
    path = write_rtstruct(tmp_path / "rt.dcm", series, phantom)
    nifti, names = convert(path, tmp_path / "rt.nii.gz", reference=series)
    expected = np.zeros(phantom.labels.shape, dtype=np.uint8)
    expected[3:8, 3:8, 4], expected[12:18, 12:18, 4] = 1, 2
    np.testing.assert_array_equal(np.asarray(nib.load(nifti).dataobj), expected)
    found = [(one["value"], one["name"], one["color"]) for one in json.loads(names.read_text())["labels"]]
    assert found == [(1, "Gross tumour", [5, 20, 30]), (2, "Liver", [7, 20, 30])]
    only = table(tmp_path / "only.json", [{"value": 3, "name": "Leber", "source_names": ["LIVER"]}])
    (seg,) = convert(path, tmp_path / "seg.dcm", reference=series, labels=only)
    np.testing.assert_array_equal(by_highdicom(seg), expected == 2)
    assert pydicom.dcmread(seg).SegmentSequence[0].SegmentLabel == "Leber"
    with pytest.raises(InputError, match=r"contours and no voxels\. Give the series .*--reference"):
        convert(path, tmp_path / "x.nii.gz")


def test_another_frame_of_reference(series, label_map, phantom, tmp_path):
    (seg,) = convert(label_map, tmp_path / "seg.dcm", reference=series)
    rtstruct = write_rtstruct(tmp_path / "rt.dcm", series, phantom)
    other = write_phantom_dicom(make_phantom(8, shape=(24, 20, 9), spacing_mm=(4.0, 4.5, 5.0)), tmp_path / "other")
    for source in (seg, rtstruct):
        with pytest.raises(InputError, match="another frame of reference"):
            convert(source, tmp_path / "x.nii.gz", reference=other)


def test_surfaces_and_measurements(series, label_map, phantom, tmp_path):
    for name in ("surface.stl", "surface.obj", "surface.glb"):
        written = convert(label_map, tmp_path / name)
        assert written
        assert all(path.stat().st_size > 1000 for path in written if path.suffix == f".{name[-3:]}")
    (path,) = convert(label_map, tmp_path / "table.csv", reference=series)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for value, row in enumerate(rows, start=1):
        mask = phantom.labels == value
        assert float(row["volume_ml"]) == pytest.approx(mask.sum() * 4 * 4.5 * 5 / 1000)
        assert float(row["mean"]) == pytest.approx(phantom.image[mask].mean(), rel=1e-5)


def test_other_dicom_objects(series, label_map, phantom, tmp_path):
    (path,) = convert(label_map, tmp_path / "rt.dcm", reference=series, kind="rtstruct")
    assert pydicom.dcmread(path).SOPClassUID == RTStructureSetStorage
    back, names = convert(path, tmp_path / "back.nii.gz", reference=series)
    np.testing.assert_array_equal(np.asarray(nib.load(back).dataobj), phantom.labels)
    assert [one["name"] for one in json.loads(names.read_text())["labels"]] == ["Label 1", "Label 2"]
    (path,) = convert(label_map, tmp_path / "report.dcm", reference=series, kind="report")
    dataset = pydicom.dcmread(path)
    assert dataset.Modality == "SR"
    assert dataset.ContentTemplateSequence[0].TemplateIdentifier == "1500"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((24, 20, 9), 0.5, dtype=np.float32), "whole numbers, got 0.5"),
        (np.full((24, 20, 9), np.nan, dtype=np.float32), "whole numbers, got nan"),
        (np.full((24, 20, 9), -1, dtype=np.int16), "from 0 to 255, got -1 to -1"),
        (np.full((24, 20, 9), 256, dtype=np.int16), "from 0 to 255, got 256 to 256"),
        (np.zeros((24, 20, 9, 2), dtype=np.uint8), "expected one value per voxel"),
        (np.zeros((24, 20, 9), dtype=np.uint8), r"label map is empty\. Say with --labels"),
    ],
)
def test_values_that_are_no_labels(values, words, series, phantom, tmp_path):
    nib.save(nib.Nifti1Image(values, phantom.affine), tmp_path / "bad.nii.gz")
    with pytest.raises(InputError, match=words):
        convert(tmp_path / "bad.nii.gz", tmp_path / "seg.dcm", reference=series)


def test_whole_numbers_in_floats_are_labels(series, phantom, tmp_path):
    nib.save(nib.Nifti1Image(phantom.labels.astype(np.float64)[..., None], phantom.affine), tmp_path / "float.nii.gz")
    (seg,) = convert(tmp_path / "float.nii.gz", tmp_path / "seg.dcm", reference=series)
    np.testing.assert_array_equal(by_highdicom(seg), phantom.labels)


def test_a_folder_with_one_segmentation(series, label_map, phantom, tmp_path):
    convert(label_map, tmp_path / "object" / "seg.dcm", reference=series)
    path, _ = convert(tmp_path / "object", tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), phantom.labels)


def test_real_contours_through_a_segmentation(shared_data, tmp_path):
    """An RTSTRUCT as NIfTI, as SEG, as NIfTI: nothing is lost on the way."""
    folder = shared_data / "STS_Sarcoma" / "STS_001" / "MR_T1"
    one, names = convert(folder / "rtstruct", tmp_path / "one.nii.gz", reference=folder / "image")
    (seg,) = convert(one, tmp_path / "seg.dcm", reference=folder / "image", labels=names)
    two, again = convert(seg, tmp_path / "two.nii.gz")
    first, second = nib.load(one), nib.load(two)
    np.testing.assert_array_equal(np.asarray(first.dataobj), np.asarray(second.dataobj))
    np.testing.assert_array_equal(first.affine, second.affine)
    assert np.asarray(first.dataobj).sum() > 1000
    assert names.read_text() == again.read_text()
    np.testing.assert_array_equal(by_highdicom(seg), np.asarray(first.dataobj))


@pytest.mark.parametrize("kind", ["segmentation", "rtstruct"])
def test_label_values_come_back(kind, series, phantom, tmp_path):
    """Values 2 and 9, which a binary SEG has to number 1 and 2."""
    labels = np.array([0, 2, 9], dtype=np.uint8)[phantom.labels]
    nib.save(nib.Nifti1Image(labels, phantom.affine), tmp_path / "labels.nii")
    (made,) = convert(tmp_path / "labels.nii", tmp_path / "made.dcm", reference=series, kind=kind)
    back, _ = convert(made, tmp_path / "back.nii", reference=series)
    np.testing.assert_array_equal(np.asarray(nib.load(back).dataobj), labels)
    if kind == "rtstruct":
        return  # de-identification removes what is said of ROIs (PS3.15 table E.1-1)
    (tmp_path / "study").mkdir()
    made.rename(tmp_path / "study" / "made.dcm")
    deidentify(tmp_path / "study", tmp_path / "shared")
    (shared,) = (tmp_path / "shared").rglob("*.dcm")
    back, _ = convert(shared, tmp_path / "shared.nii")
    np.testing.assert_array_equal(np.asarray(nib.load(back).dataobj), labels)

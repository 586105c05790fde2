"""Conversions of images, and what is refused, against SimpleITK, highdicom, nibabel and pydicom."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_altered import tilted
from dicom_altered.series import KINDS

from pipeline.dicom import DicomSeriesReader
from pipeline.errors import InputError
from pipeline.sources import CaseReader
from pipeline.workflows.convert import convert


def table(path, content):
    path.write_text(json.dumps(content))
    return path


def by_simpleitk(folder):
    """A series by GDCM and ITK, in float64."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    reader.SetOutputPixelType(SimpleITK.sitkFloat64)
    return reader.Execute()


def corners(image) -> set[tuple[float, ...]]:
    """The places of the corner voxels in LPS mm."""
    ends = np.array(image.GetSize()) - 1
    points = [image.TransformIndexToPhysicalPoint([int(v) for v in ends * one]) for one in np.ndindex(2, 2, 2)]
    return {tuple(np.round(point, 2) + 0.0) for point in points}


def check_image(folder, path) -> None:
    """The NIfTI file has each value at the place where ITK finds it in the series."""
    expected, found = by_simpleitk(folder), SimpleITK.ReadImage(str(path), SimpleITK.sitkFloat64)
    assert corners(found) == corners(expected)
    expected.SetOrigin(np.round(expected.GetOrigin(), 3))
    moved = SimpleITK.Resample(found, expected, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, -9e9)
    values = SimpleITK.GetArrayFromImage(moved)
    np.testing.assert_allclose(values, SimpleITK.GetArrayFromImage(expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["oblique", "sagittal", "reversed_normal", "two_slices", "slope_per_slice", "prone"])
def test_image_series(name, tmp_path):
    folder = tmp_path / "series"
    KINDS[name].make(folder)
    path = tmp_path / "out" / "image.nii.gz"
    assert convert(folder, path) == [path]
    check_image(folder, path)
    image = nib.load(path)
    assert image.get_data_dtype() == (np.float32 if name == "slope_per_slice" else np.int16)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    reader = DicomSeriesReader()
    array, meta = reader.get_data(reader.read(folder))
    np.testing.assert_array_equal(np.asarray(image.dataobj), array)
    np.testing.assert_allclose(image.affine, meta["affine"], atol=1e-4)
    assert [file.name for file in path.parent.iterdir()] == ["image.nii.gz"]


def test_real_images(shared_data, tmp_path):
    for modality, dtype in (("MR_T1", np.int16), ("PET", np.float32)):
        folder = shared_data / "STS_Sarcoma" / "STS_001" / modality / "image"
        (path,) = convert(folder, tmp_path / f"{modality}.nii")
        check_image(folder, path)
        assert nib.load(path).get_data_dtype() == dtype


def test_slices_that_drift(tmp_path):
    """Their affine is sheared: only the sform can hold it, and other readers must take it."""
    KINDS["tilt_slight"].make(tmp_path / "series")
    (path,) = convert(tmp_path / "series", tmp_path / "image.nii.gz")
    reader = DicomSeriesReader()
    array, meta = reader.get_data(reader.read(tmp_path / "series"))
    image = nib.load(path)
    np.testing.assert_allclose(image.affine, meta["affine"], atol=1e-4)
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (0, 1)
    again, meta = CaseReader().get_data((path,))
    np.testing.assert_array_equal(again, array)
    np.testing.assert_allclose(meta["affine"], image.affine, atol=1e-4)


def test_one_of_several_series(tmp_path):
    KINDS["two_echoes"].make(tmp_path / "series")
    with pytest.raises(InputError, match="2 image series"):
        convert(tmp_path / "series", tmp_path / "image.nii.gz")
    paths = [convert(tmp_path / "series", tmp_path / f"{one}.nii", series=f"1/{one}")[0] for one in (1, 2)]
    one, two = (np.asarray(nib.load(path).dataobj) for path in paths)
    assert (one != two).any()
    labels = tmp_path / "labels.nii"
    nib.save(nib.Nifti1Image((one > np.median(one)).astype(np.uint8), nib.load(paths[0]).affine), labels)
    for number in (1, 2):
        (path,) = convert(labels, tmp_path / "seg.dcm", reference=tmp_path / "series", series=f"1/{number}")
        referred = {
            item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            for item in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
        }
        sources = [pydicom.dcmread(file) for file in (tmp_path / "series").iterdir()]
        assert len({one.EchoTime for one in sources if one.SOPInstanceUID in referred}) == 1
        assert len(referred) == one.shape[2]


@pytest.mark.parametrize("kind", tilted.KINDS[:2], ids=tilted.name)
def test_tilted_gantry(kind, tmp_path):
    folder = tmp_path / "series"
    kind.write(folder)
    with pytest.raises(InputError, match=r"tilted .*--untilt"):
        convert(folder, tmp_path / "image.nii.gz")
    (path,) = convert(folder, tmp_path / "image.nii.gz", untilt=True)
    reader = DicomSeriesReader(untilt=True)
    array, meta = reader.get_data(reader.read(folder))
    image = nib.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj), array)
    np.testing.assert_allclose(image.affine, meta["affine"], atol=1e-4)
    # Labels on the upright grid go back to the acquired slices: what is everywhere is everywhere.
    full = nib.Nifti1Image(np.ones(array.shape, dtype=np.uint8), image.affine)
    nib.save(full, tmp_path / "full.nii.gz")
    (seg,) = convert(tmp_path / "full.nii.gz", tmp_path / "seg.dcm", reference=folder, untilt=True)
    frames = pydicom.dcmread(seg)
    assert frames.pixel_array.all()
    assert frames.NumberOfFrames == array.shape[2]
    with pytest.raises(InputError, match=r"do not lie on the source images|outside the source images"):
        convert(tmp_path / "full.nii.gz", tmp_path / "seg.dcm", reference=folder)


WRONG = [
    ({}, "seg.dcm", r"a DICOM object is about images\. Give their series with --reference"),
    ({"series": "1"}, "a.nii.gz", r"--series names a series of a reference\. Give .*--reference"),
    ({}, "a.xyz", r"no known format .*\.nii\.gz \.nii \.dcm \.stl \.obj \.glb \.csv"),
    ({"kind": "rtstruct"}, "a.nii.gz", r"--kind says nothing about a \.nii\.gz file\. Leave it out"),
    ({"kind": "dose"}, "a.dcm", "expected segmentation or rtstruct or report, got 'dose'"),
    ({"compression": "rle"}, "a.stl", r"--compression says nothing about a \.stl file"),
    (
        {"segmentation_type": "labelmap", "kind": "rtstruct"},
        "a.dcm",
        "--segmentation-type says nothing about a rtstruct",
    ),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong[1])
def test_wrong_combinations(wrong, series, label_map, tmp_path):
    options, name, words = wrong
    reference = {} if "about images" in words or "series" in options else {"reference": series}
    with pytest.raises(InputError, match=words):
        convert(label_map, tmp_path / name, **reference, **options)
    assert not (tmp_path / name).exists()


def test_images_are_no_label_maps(series, label_map, tmp_path):
    for options, name, words in (
        ({}, "a.dcm", r"an image cannot become this .*give the label map as source"),
        ({}, "a.stl", "an image cannot become this"),
        ({"reference": series}, "a.nii.gz", "--reference says nothing about an image"),
    ):
        with pytest.raises(InputError, match=words):
            convert(series, tmp_path / name, **options)
    with pytest.raises(InputError, match="no such file or folder"):
        convert(tmp_path / "nothing", tmp_path / "a.nii.gz")
    (tmp_path / "folder.nii.gz").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        convert(series, tmp_path / "folder.nii.gz")


def test_no_input_is_overwritten(series, label_map, tmp_path):
    labels = table(tmp_path / "labels_labels.json", {"1": "Left kidney", "2": "Lesion"})
    before = {file: file.read_bytes() for file in [label_map, labels, *series.iterdir()]}
    for source, output, options in (
        (label_map, label_map, {}),
        (label_map, tmp_path / "series" / ".." / "labels.nii.gz", {}),
        (label_map, next(series.iterdir()), {"reference": series}),
        (label_map, tmp_path / "labels.nii", {"labels": labels}),
    ):
        with pytest.raises(InputError, match="the output would overwrite an input"):
            convert(source, output, **options)
    assert before == {file: file.read_bytes() for file in before}

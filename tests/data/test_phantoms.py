from __future__ import annotations

import highdicom
import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813

from pipeline.data.phantoms import PHANTOM_LABELS, make_phantom, write_phantom_dicom, write_phantom_labels

TYPE_1 = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "FrameOfReferenceUID",
    "ImageType",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleIntercept",
    "RescaleSlope",
    "PixelData",
]


def test_same_seed_same_phantom():
    one, again, other = make_phantom(3), make_phantom(3), make_phantom(4)
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.labels, again.labels)
    assert (one.labels != other.labels).any()


def test_labels_are_contiguous_and_inside_the_body():
    for seed in range(20):
        phantom = make_phantom(seed)
        values, counts = np.unique(phantom.labels, return_counts=True)
        assert values.tolist() == [0, *PHANTOM_LABELS]
        assert counts.min() > 150
        assert phantom.image[phantom.labels > 0].min() > -500
        assert phantom.image.dtype == np.float32
        assert phantom.labels.dtype == np.uint8


def test_no_threshold_finds_the_organs():
    phantom = make_phantom(0)
    for label in PHANTOM_LABELS:
        low, high = np.quantile(phantom.image[phantom.labels == label], [0.05, 0.95])
        found, truth = (phantom.image >= low) & (phantom.image <= high), phantom.labels == label
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) < 0.75


def test_series_is_a_ct_image_series_on_the_same_grid(tmp_path):
    phantom = make_phantom(5)
    folder = write_phantom_dicom(phantom, tmp_path / "image")
    datasets = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    assert all(str(dataset.get(keyword, "")) for dataset in datasets for keyword in TYPE_1)
    assert {str(dataset.PatientName) for dataset in datasets} == {"Phantom^001"}
    heights = [float(dataset.ImagePositionPatient[2]) for dataset in datasets]
    assert heights not in (sorted(heights), sorted(heights, reverse=True)), "names must not follow the positions"
    volume = highdicom.get_volume_from_series(datasets, dtype=np.float32)
    np.testing.assert_array_equal(volume.array.transpose(2, 1, 0), phantom.image)
    lps_to_ras = np.diag([-1, -1, 1, 1])
    np.testing.assert_allclose(lps_to_ras @ volume.affine[:, [2, 1, 0, 3]], phantom.affine, atol=1e-6)


def test_uids_follow_from_the_seed(tmp_path):
    def uids(folder, seed):
        paths = write_phantom_dicom(make_phantom(seed, shape=(8, 8, 4)), tmp_path / folder).iterdir()
        return {pydicom.dcmread(path).SOPInstanceUID for path in paths}

    assert uids("one", 1) == uids("again", 1)
    assert not uids("one", 1) & uids("other", 2)


def test_label_file_is_on_the_grid_of_the_series(tmp_path):
    phantom = make_phantom(6)
    path = write_phantom_labels(phantom, tmp_path / "label.nii.gz")
    image = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj), phantom.labels)
    np.testing.assert_allclose(image.affine, phantom.affine)
    folder = write_phantom_dicom(phantom, tmp_path / "image")
    series = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    on_series = sitk.Resample(sitk.ReadImage(str(path)), series, sitk.Transform(), sitk.sitkNearestNeighbor)
    truth = phantom.labels.transpose(2, 1, 0)[::-1]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(on_series), truth)

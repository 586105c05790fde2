"""DICOM images that are pictures: radiographs, and ultrasound and secondary captures without a place."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_altered.radiographs import PATIENT, write_radiograph
from interoperability.programs import find_program
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import convert_color_space
from pydicom.uid import CTImageStorage, RLELossless, SecondaryCaptureImageStorage

from pipeline.data import find_inputs
from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.errors import InputError
from pipeline.sources import CaseReader
from pipeline.workflows.classify import classify
from pipeline.workflows.inspect import inspect
from pipeline.workflows.segment import segment


@pytest.fixture
def grey() -> np.ndarray:
    """A ramp with a frame around it: (Y, X), 8 bit."""
    values = np.add.outer(np.arange(31), 5 * np.arange(44)).astype(np.uint8)
    values[:2], values[:, -3:] = 255, 0
    return values


def read(path: Path, channels: int | None = None) -> tuple[np.ndarray, float]:
    """Samples (Y, X[, C]) and full scale."""
    reader = CaseReader(channels=channels, dimensions=2)
    array, meta = reader.get_data(reader.read(str(path)))
    return np.swapaxes(array, 0, 1), meta["full_scale"]


def lut(bits: int, entries: np.ndarray, first: int = 0) -> list[Dataset]:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(entries), first, bits], entries.astype("<u2").tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    return [item]


ENCODINGS = {
    "8 bit": (lambda v: v, {}),
    "MONOCHROME1": (lambda v: 255 - v, {"PhotometricInterpretation": "MONOCHROME1"}),
    "MONOCHROME1, also inverse": (
        lambda v: 255 - v,
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ),
    "inverse": (lambda v: 255 - v, {"PresentationLUTShape": "INVERSE"}),
    "12 bit": (lambda v: v.astype(np.uint16) * 16 + v // 16, {"bits": 12}),
    "12 bit with an overlay above": (lambda v: (v.astype(np.uint16) * 16 + v // 16) | 0x8000, {"bits": 12}),
    "16 bit": (lambda v: v.astype(np.uint16) * 257, {}),
    "signed": (lambda v: (v.astype(np.int32) * 257 - 32768).astype(np.int16), {}),
    "rescaled": (lambda v: v, {"RescaleSlope": "2.5", "RescaleIntercept": "-100"}),
    "negative slope": (lambda v: 255 - v, {"RescaleSlope": "-2", "RescaleIntercept": "510"}),
    "whole window": (lambda v: v, {"WindowCenter": "128", "WindowWidth": "256"}),
    "window of rescaled values": (
        lambda v: v,
        {"RescaleSlope": "2", "RescaleIntercept": "-100", "WindowCenter": "155.5", "WindowWidth": "511"},
    ),
    "exact window": (
        lambda v: v,
        {"WindowCenter": "127.5", "WindowWidth": "255", "VOILUTFunction": "LINEAR_EXACT"},
    ),
    "VOI LUT": (lambda v: v, {"VOILUTSequence": lut(12, np.arange(256) * 4095 / 255)}),
    "Modality LUT": (lambda v: 255 - v, {"ModalityLUTSequence": lut(16, np.arange(255, -1, -1) * 257)}),
    "CR": (lambda v: v, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "PixelSpacing": ["0.2", "0.2"]}),
    "with a place": (
        lambda v: 255 - v,
        {
            "PhotometricInterpretation": "MONOCHROME1",
            "PixelSpacing": ["0.2", "0.2"],
            "ImagePositionPatient": ["0", "0", "0"],
            "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        },
    ),
    "secondary capture": (lambda v: v, {"SOPClassUID": SecondaryCaptureImageStorage}),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_each_encoding_of_one_radiograph_gives_one_picture(name: str, grey: np.ndarray, tmp_path: Path) -> None:
    encode, elements = ENCODINGS[name]
    samples, full = read(write_radiograph(tmp_path / "im.dcm", encode(grey), **elements))
    assert samples.shape == grey.shape
    np.testing.assert_allclose(samples / full, grey / 255, atol=0.6 / 255)


def test_a_narrow_window_is_what_dcmtk_shows(grey: np.ndarray, tmp_path: Path) -> None:
    stored = grey.astype(np.uint16) * 16
    for number, photometric in enumerate(("MONOCHROME1", "MONOCHROME2")):
        elements = {
            "WindowCenter": ["1500", "9"],
            "WindowWidth": ["1000", "2"],
            "PhotometricInterpretation": photometric,
        }
        path = write_radiograph(tmp_path / f"{number}.dcm", stored, bits=12, **elements)
        shown = tmp_path / f"{number}.pgm"
        subprocess.run([find_program("dcmj2pnm"), "+Wi", "1", path, shown], check=True, capture_output=True)
        with Image.open(shown) as opened:
            expected = np.asarray(opened).astype(float)
        samples, full = read(path)
        assert 20 < len(np.unique(expected)) < 100
        np.testing.assert_allclose(samples * 255.0 / full, expected, atol=1.5)


@pytest.fixture
def colours(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey, grey[::-1], np.full_like(grey, 90)], axis=-1)


def test_colours_are_rgb_however_they_are_stored(colours: np.ndarray, tmp_path: Path) -> None:
    ybr = convert_color_space(colours, "RGB", "YBR_FULL")
    plain = write_radiograph(tmp_path / "rgb.dcm", colours)
    np.testing.assert_array_equal(read(plain)[0], colours)
    converted = read(write_radiograph(tmp_path / "ybr.dcm", ybr, PhotometricInterpretation="YBR_FULL"))[0]
    np.testing.assert_allclose(converted.astype(int), colours.astype(int), atol=2)
    planes = write_radiograph(tmp_path / "planes.dcm", colours)
    dataset = pydicom.dcmread(planes)
    dataset.PlanarConfiguration, dataset.PixelData = 1, colours.transpose(2, 0, 1).tobytes()
    dataset.save_as(planes)
    np.testing.assert_array_equal(read(planes)[0], colours)
    dataset = pydicom.dcmread(plain)
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "rle.dcm")
    np.testing.assert_array_equal(read(tmp_path / "rle.dcm")[0], colours)


def test_palettes_are_looked_up(grey: np.ndarray, tmp_path: Path) -> None:
    table = {name: np.random.default_rng(n).integers(0, 65536, 256) for n, name in enumerate(("Red", "Green", "Blue"))}
    elements = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in table}
    elements |= {f"{name}PaletteColorLookupTableData": one.astype("<u2").tobytes() for name, one in table.items()}
    path = write_radiograph(tmp_path / "im.dcm", grey, PhotometricInterpretation="PALETTE COLOR", **elements)
    samples, full = read(path)
    assert full == 65535
    np.testing.assert_array_equal(samples, np.stack([one[grey] for one in table.values()], axis=-1))


def test_each_picture_of_a_folder_is_a_case_and_slices_are_a_series(grey: np.ndarray, tmp_path: Path) -> None:
    for name in ("ward/a.dcm", "ward/b", "single/IM0001"):
        write_radiograph(tmp_path / name, grey)
    assert [case["name"] for case in find_inputs(tmp_path)] == ["single", "ward_a", "ward_b"]
    assert [case["name"] for case in find_inputs(tmp_path / "single")] == ["single"]
    assert [case["name"] for case in find_inputs(tmp_path / "ward" / "b")] == ["b"]
    series = write_phantom_dicom(make_phantom(7, shape=(24, 20, 9), spacing_mm=(2, 2.5, 3)), tmp_path / "ct" / "series")
    write_radiograph(series / "capture.dcm", grey, SOPClassUID=SecondaryCaptureImageStorage)
    assert [case["image"] for case in find_inputs(tmp_path / "ct")] == [str(series)]


def test_slices_that_lost_their_place_are_no_pictures(grey: np.ndarray, tmp_path: Path) -> None:
    path = write_radiograph(tmp_path / "im.dcm", grey, SOPClassUID=CTImageStorage, Modality="CT")
    with pytest.raises(InputError, match="so that the place of the slice is unknown"):
        read(path)


def test_what_cannot_be_read_is_told_in_one_line(grey: np.ndarray, colours: np.ndarray, tmp_path: Path) -> None:
    cine = write_radiograph(tmp_path / "cine.dcm", np.stack([colours] * 4))
    with pytest.raises(InputError, match=r"cine.dcm: holds several pictures \(expected 1, got 4\)"):
        read(cine)
    short = write_radiograph(tmp_path / "short.dcm", grey)
    short.write_bytes(short.read_bytes()[:-300])
    with pytest.raises(InputError, match="pixel data cannot be decoded") as caught:
        read(short)
    assert "\n" not in str(caught.value)
    assert not any(word in str(caught.value) for word in PATIENT)
    two = tmp_path / "two"
    two.mkdir()
    for name in "ab":
        shutil.copy(write_radiograph(tmp_path / "one.dcm", grey), two / name)
    with pytest.raises(InputError):
        read(two)


def test_a_bundle_for_pictures_takes_them(grey: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = np.asarray(Image.fromarray(grey).resize((160, 120)))
    (tmp_path / "in").mkdir()
    Image.fromarray(picture).save(tmp_path / "in" / "plain.png")
    write_radiograph(tmp_path / "dicom" / "study" / "IM1", 255 - picture, PhotometricInterpretation="MONOCHROME1")
    probabilities = []
    for folder in ("in", "dicom"):
        classify(tmp_path / folder, bundle="pneumonia_cxr_classification", output_dir=tmp_path / f"{folder} classes")
        segment(tmp_path / folder, bundle="nerve_vessel_us_segmentation", output_dir=tmp_path / f"{folder} masks")
        table = (tmp_path / f"{folder} classes" / "probabilities.csv").read_text().splitlines()
        probabilities.append(table[1].split(",")[1:])
    assert probabilities[0] == probabilities[1]
    masks = [np.asarray(Image.open(tmp_path / name)) for name in ("in masks/plain.png", "dicom masks/study.png")]
    np.testing.assert_array_equal(*masks)
    overlays = [tmp_path / name for name in ("in masks/plain_overlay.png", "dicom masks/study_overlay.png")]
    np.testing.assert_array_equal(*(np.asarray(Image.open(path)) for path in overlays))
    (found,) = inspect(tmp_path / "dicom")
    assert (found.kind, found.size, found.problem) == ("DICOM picture", (160, 120), None)
    assert not any(word in capsys.readouterr().out for word in PATIENT)


@pytest.mark.parametrize(
    ("kind", "applied"),
    [
        (uid.XRayAngiographicImageStorage, False),
        (uid.XRayRadiofluoroscopicImageStorage, False),
        (uid.DigitalXRayImageStorageForPresentation, True),
        (uid.ComputedRadiographyImageStorage, True),
    ],
)
def test_the_modality_lut_of_angiography_is_not_for_display(
    kind: str, applied: bool, grey: np.ndarray, tmp_path: Path
) -> None:
    """It leads to X-ray intensities (PS3.3 C.8.7.1.1.2); one that turns the values round shows whether it is."""
    turned = lut(8, np.arange(256)[::-1])
    turned[0].ModalityLUTType = "US"
    path = write_radiograph(tmp_path / "im.dcm", grey, SOPClassUID=kind, ModalityLUTSequence=turned)
    samples, full = read(path)
    expected = 255 - grey.astype(float) if applied else grey.astype(float)
    np.testing.assert_allclose(samples / full, expected / 255, atol=1e-4)


@pytest.mark.parametrize(
    ("stated", "used"),
    [
        (([40], [0]), None),
        (([40], [-5]), None),
        ((["nan"], [80]), None),
        (([40, 100], [0, 80]), (100, 80)),
        (([100, 40], [80, 0]), (100, 80)),
        (([100], [80, 30]), (100, 80)),
    ],
)
def test_a_window_without_a_width_is_no_window(stated, used, grey, tmp_path, caplog) -> None:
    odd = write_radiograph(tmp_path / "odd.dcm", grey)
    dataset = pydicom.dcmread(odd)
    for keyword, values in zip(("WindowCenter", "WindowWidth"), stated, strict=True):
        text = "\\".join(map(str, values)).encode()
        text += b" " * (len(text) % 2)
        tag = pydicom.tag.Tag(keyword)
        dataset[tag] = pydicom.dataelem.RawDataElement(tag, "DS", len(text), text, 0, False, True)
    dataset.save_as(odd)
    window = {} if used is None else {"WindowCenter": used[0], "WindowWidth": used[1]}
    plain = write_radiograph(tmp_path / "plain.dcm", grey, **window)
    (samples, full), (expected, other) = read(odd), read(plain)
    np.testing.assert_array_equal(samples, expected)
    assert full == other
    assert ("its window has no width" in caplog.text) == (used is None)

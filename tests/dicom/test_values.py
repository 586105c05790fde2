from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from pipeline.dicom import choose, load, scan
from pipeline.errors import InputError


def one(folder):
    return choose(scan(folder))


def with_lut(study, *, count, first, bits, vr="US", packed=False) -> np.ndarray:
    """Replace the rescaling by a table; the entry of stored value ``first + n`` is a number that n decides."""
    entries = (np.arange(count) * 37 + 11) % (1 << bits)

    def change(dataset, _index):
        del dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType
        item = Dataset()
        signed = dataset.PixelRepresentation == 1
        item.add(DataElement("LUTDescriptor", "SS" if signed else "US", [count % 65536, first, bits]))
        item.ModalityLUTType = "HU"
        if vr == "OW":
            item.add(DataElement("LUTData", "OW", entries.astype("u1" if packed else "<u2").tobytes()))
        else:
            item.add(DataElement("LUTData", "US", entries.tolist()))
        dataset.ModalityLUTSequence = [item]

    study.alter(change)
    return entries


def by_hand(study, entries, first) -> np.ndarray:
    stored = np.stack([dataset.pixel_array for dataset in reversed(study.read())]).astype(int)
    return np.array([entries[min(max(value - first, 0), len(entries) - 1)] for value in stored.ravel()]).reshape(
        stored.shape
    )


@pytest.mark.parametrize(
    "table",
    [
        {"count": 2000, "first": 0, "bits": 16, "vr": "US", "packed": False},
        {"count": 2000, "first": 100, "bits": 16, "vr": "OW", "packed": False},
        {"count": 1500, "first": -300, "bits": 12, "vr": "US", "packed": False},
        {"count": 256, "first": 900, "bits": 8, "vr": "OW", "packed": True},
        {"count": 256, "first": 900, "bits": 8, "vr": "US", "packed": False},
    ],
)
def test_modality_lut(study, table):
    entries = with_lut(study, **table)
    volume = load(one(study.folder))
    np.testing.assert_array_equal(volume.array, by_hand(study, entries, table["first"]))
    assert len(np.unique(volume.array)) > 50


def test_modality_lut_of_65536_unsigned_entries(study):
    study.alter(lambda dataset, _index: setattr(dataset, "PixelRepresentation", 0))
    entries = with_lut(study, count=65536, first=0, bits=16, vr="OW")
    np.testing.assert_array_equal(load(one(study.folder)).array, by_hand(study, entries, 0))


def test_modality_lut_that_is_too_short(study):
    with_lut(study, count=2000, first=0, bits=16)

    def cut(dataset, _index):
        item = dataset.ModalityLUTSequence[0]
        item.LUTData = item.LUTData[:1200]

    path = study.files[3]
    study.alter(cut, [path])
    with pytest.raises(InputError, match=rf"{path.name}: .*too short \(expected 2000 entries, got 1200\)"):
        load(one(study.folder))


# Integers


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("slope", [1, 2, -1])
def test_integers_are_the_values(study, signed, slope):
    def change(dataset, index):
        values = np.clip(np.frombuffer(dataset.PixelData, "<i2"), 0, 4095)
        dataset.PixelData, dataset.PixelRepresentation = values.astype("<u2").tobytes(), int(signed)
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, -1024 + index

    study.alter(change)
    expected = np.stack(
        [dataset.pixel_array.astype(int) * slope + int(dataset.RescaleIntercept) for dataset in reversed(study.read())]
    )
    for dtype in (np.int16, np.int32, None):
        volume = load(one(study.folder), dtype=dtype)
        assert volume.array.dtype == (dtype or np.int16)
        np.testing.assert_array_equal(volume.array, expected)


def test_values_beyond_16_bits(study):
    path = study.files[4]
    study.alter(lambda dataset, _index: setattr(dataset, "RescaleIntercept", "32000"), [path])
    with pytest.raises(InputError, match=rf"{path.name}: the values do not fit into int16"):
        load(one(study.folder), dtype=np.int16)
    volume = load(one(study.folder), dtype=None)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, load(one(study.folder), dtype=np.int32).array)


def test_fractions_are_no_integers(study):
    study.alter(lambda dataset, _index: setattr(dataset, "RescaleSlope", "0.5"), study.files[2:3])
    with pytest.raises(InputError, match="do not fit into int16"):
        load(one(study.folder), dtype=np.int16)
    assert load(one(study.folder), dtype=None).array.dtype == np.float32


def test_values_are_rounded_once(study):
    study.alter(lambda dataset, index: setattr(dataset, "RescaleIntercept", f"{0.1 + index / 7:.9f}"))
    study.alter(lambda dataset, index: setattr(dataset, "RescaleSlope", f"{0.000123457 * (index + 1):.12f}"))
    expected = np.stack(
        [
            dataset.pixel_array.astype(np.float64) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
            for dataset in reversed(study.read())
        ]
    )
    np.testing.assert_array_equal(load(one(study.folder)).array, expected.astype(np.float32))


def test_high_bit_elsewhere_is_refused(study):
    def change(dataset, _index):
        dataset.BitsStored, dataset.HighBit = 12, 15

    study.alter(change)
    with pytest.raises(InputError, match=r"HighBit does not fit BitsStored.*expected 11, got 15"):
        load(one(study.folder))


def test_mosaic_is_refused(study):
    study.alter(lambda dataset, _index: setattr(dataset, "ImageType", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]))
    with pytest.raises(InputError, match="mosaic"):
        load(one(study.folder))


def test_files_without_pixels_are_passed_by_pydicom(study):
    dataset = pydicom.dcmread(study.files[0])
    del dataset.PixelData
    dataset.save_as(study.files[0])
    with pytest.raises(InputError, match="no pixel data"):
        load(one(study.folder))

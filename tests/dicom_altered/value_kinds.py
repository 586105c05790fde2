"""Alterations of the stored values and of what they mean."""

from __future__ import annotations

import numpy as np
from dicom_altered.kind import add, kind, set_all
from dicom_altered.slices import COUNT, mr, pixels, set_pixels, set_raw, stack
from pydicom import uid as classes
from pydicom.dataset import Dataset

RNG = 21

# Depth and sign.


@kind("12 of 16 bits, with rubbish in the four high bits")
def rubbish_in_high_bits(slices):
    rng = np.random.default_rng(RNG)
    for dataset in slices:
        rubbish = rng.integers(0, 16, pixels(dataset).shape, dtype=np.uint16) << 12
        set_pixels(dataset, pixels(dataset) % 4096 | rubbish)
        dataset.BitsStored, dataset.HighBit = 12, 11


@kind("12 of 16 bits signed, with rubbish in the four high bits")
def rubbish_in_high_bits_signed(slices):
    rubbish_in_high_bits(slices)
    for dataset in slices:
        dataset.PixelRepresentation = 1


@kind("12 bits at the top of 16 (HighBit 15)", refuse=r"(?i)HighBit|high bit|bits", either=True)
def values_in_high_bits(slices):
    for dataset in slices:
        set_pixels(dataset, pixels(dataset) << 4)
        dataset.BitsStored, dataset.HighBit = 12, 15


@kind("signed and unsigned slices in turn")
def signed_and_unsigned(slices):
    for k, dataset in enumerate(slices):
        values = pixels(dataset).astype(np.int64) * 15
        signed = k % 2 == 0
        set_pixels(dataset, values - 30000 if signed else values, signed=signed)
        dataset.RescaleIntercept = "30000" if signed else "0"


@kind("unsigned values above 32767")
def large_unsigned(slices):
    for dataset in slices:
        set_pixels(dataset, pixels(dataset) * 16)


@kind("8-bit values")
def eight_bits(slices):
    for dataset in slices:
        set_pixels(dataset, pixels(dataset) % 256, bits=8)


@kind("8-bit values of an odd number of pixels", source=lambda: stack(rows=19, columns=23))
def eight_bits_odd(slices):
    for dataset in slices:
        set_pixels(dataset, pixels(dataset) % 256, bits=8)
        dataset.PixelData += b"\0"


@kind("8-bit and 16-bit slices in turn")
def mixed_depths(slices):
    for k, dataset in enumerate(slices):
        bits = 8 if k % 2 else 16
        set_pixels(dataset, pixels(dataset).astype(np.int64) % 2**bits, bits=bits)


@kind("32-bit values")
def thirty_two_bits(slices):
    for dataset in slices:
        set_pixels(dataset, pixels(dataset).astype(np.int64) * 5000 - 10**7, bits=32, signed=True)


@kind("64-bit floating-point values (DoubleFloatPixelData)", refuse=r"(?i)float|depth|pixel data|PixelData")
def floating_point(slices):
    for dataset in slices:
        dataset.DoubleFloatPixelData = pixels(dataset).astype("<f8").tobytes()
        dataset.BitsAllocated = 64
        del dataset.PixelData


# What the values mean.


@kind("MONOCHROME1, which says how to show the values and inverts nothing")
def monochrome1(slices):
    for dataset in slices:
        dataset.PhotometricInterpretation = "MONOCHROME1"


@kind("PresentationLUTShape INVERSE, which says how to show the values")
def presentation_inverse(slices):
    for dataset in slices:
        dataset.PresentationLUTShape = "INVERSE"


@kind("MONOCHROME1 and MONOCHROME2 in one series", refuse=r"(?i)Photometric|MONOCHROME", either=True)
def mixed_photometric(slices):
    for dataset in slices[5:]:
        dataset.PhotometricInterpretation = "MONOCHROME1"


@kind("colour slices (RGB)", refuse=r"(?i)colou?r|RGB")
def rgb(slices):
    for dataset in slices:
        grey = (pixels(dataset) % 256).astype(np.uint8)
        set_pixels(dataset, np.stack([grey, grey // 2, grey // 3], axis=-1), bits=8)
        dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
        dataset.PhotometricInterpretation = "RGB"


@kind("palette colours", refuse=r"(?i)colou?r|palette")
def palette(slices):
    for dataset in slices:
        set_pixels(dataset, pixels(dataset) % 256, bits=8)
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        for name in ("Red", "Green", "Blue"):
            setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
            setattr(dataset, f"{name}PaletteColorLookupTableData", bytes(512))


@kind("a mosaic of slices in one picture", source=mr, refuse=r"(?i)mosaic")
def mosaic(slices):
    tiles = [pixels(dataset) for dataset in slices]
    dataset = slices[0]
    dataset.Rows, dataset.Columns = 3 * dataset.Rows, 3 * dataset.Columns
    set_pixels(dataset, np.block([tiles[start : start + 3] for start in range(0, COUNT, 3)]))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    dataset.Manufacturer = "SIEMENS"
    return [dataset]


add("slope_zero", "RescaleSlope 0", set_all("RescaleSlope", "0"), refuse="RescaleSlope")
add(
    "rescale_missing",
    "neither RescaleSlope nor RescaleIntercept in any slice",
    lambda slices: [(delattr(one, "RescaleSlope"), delattr(one, "RescaleIntercept")) for one in slices] and None,
)
add(
    "slope_missing",
    "RescaleIntercept without RescaleSlope",
    set_all("RescaleSlope", None),
    refuse=r"(?i)RescaleSlope|rescal",
    either=True,
)
add("slope_negative", "RescaleSlope -1", set_all("RescaleSlope", "-1"))
add("padding_value", "PixelPaddingValue -2000", set_all("PixelPaddingValue", -2000))


@kind("RescaleSlope that is no number", refuse="RescaleSlope")
def slope_text(slices):
    for dataset in slices:
        set_raw(dataset, "RescaleSlope", "steep")


@kind("no rescaling in one slice of a CT", refuse=r"(?i)rescal")
def rescale_missing_in_one(slices):
    del slices[4].RescaleSlope, slices[4].RescaleIntercept


@kind("a slope of its own for each slice, far below 1, as in PET")
def slope_per_slice(slices):
    for k, dataset in enumerate(slices):
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{0.00123457 * (k + 1):.10g}", "0"


@kind("a slope and a broken intercept of its own for each slice")
def intercept_per_slice(slices):
    for k, dataset in enumerate(slices):
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{0.0137 * (k + 1):.10g}", f"{-3.217 * k:.10g}"


@kind("values that a Modality LUT rescales", refuse=r"(?i)look-?up|LUT", either=True)
def modality_lut(slices):
    for dataset in slices:
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType = [4096, 0, 16], "HU"
        set_pixels(dataset, pixels(dataset))
        table.LUTData = (np.arange(4096) ** 1.2).astype("<u2").tobytes()
        dataset.ModalityLUTSequence = [table]
        del dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType


@kind("a plain multi-frame secondary capture without slice positions", refuse=r"(?i)multi-?frame|position|frames")
def multiframe_capture(slices):
    dataset = slices[0]
    dataset.SOPClassUID = classes.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    dataset.PixelData = b"".join(one.PixelData for one in slices)
    dataset.NumberOfFrames = COUNT
    return [dataset]

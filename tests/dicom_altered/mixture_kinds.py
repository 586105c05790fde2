"""More than one volume in one series: echoes, times, orientations, sizes."""

from __future__ import annotations

import numpy as np
from dicom_altered.geometry_kinds import CORONAL, NORMAL
from dicom_altered.kind import kind
from dicom_altered.slices import STEP_MM, ct, ds, move, mr, other_instance, other_pixels, stack, uid

DOUBLED = r"(?i)two slices with different pixels at one position|echo|time point|temporal|b-?value|acquisition"


@kind("all slices at one position, with different pixels", refuse=DOUBLED)
def all_at_one_position(slices):
    for dataset in slices:
        dataset.ImagePositionPatient = slices[0].ImagePositionPatient


@kind("two slices of different pixels at one position", refuse=DOUBLED)
def duplicate_other_pixels(slices):
    return [*slices, other_pixels(slices[4])]


@kind("two echoes in one series", source=mr, refuse=DOUBLED)
def two_echoes(slices):
    others = [other_pixels(dataset, "echo") for dataset in slices]
    for dataset in others:
        dataset.EchoTime, dataset.EchoNumbers = "80", 2
    return slices + others


@kind("two time points in one series", source=mr, refuse=DOUBLED)
def two_time_points(slices):
    others = [other_pixels(dataset, "time") for dataset in slices]
    for number, group in enumerate((slices, others), start=1):
        for dataset in group:
            dataset.TemporalPositionIdentifier, dataset.NumberOfTemporalPositions = number, 2
            dataset.AcquisitionTime = f"12000{number}"
    return slices + others


@kind("two b-values in one series", source=mr, refuse=DOUBLED)
def two_b_values(slices):
    others = [other_pixels(dataset, "b") for dataset in slices]
    for value, group in ((0.0, slices), (1000.0, others)):
        for dataset in group:
            dataset.DiffusionBValue = value
    return slices + others


@kind("one slice turned by 0.3 degrees", refuse=r"(?i)orientation")
def one_turned(slices):
    turn = np.radians(0.3)
    slices[4].ImageOrientationPatient = ds([np.cos(turn), np.sin(turn), 0, -np.sin(turn), np.cos(turn), 0])


@kind("a second echo of which only some slices are there", source=mr, refuse=DOUBLED)
def echo_in_part(slices):
    others = [other_pixels(dataset, "echo") for dataset in slices[3:6]]
    for dataset in others:
        dataset.EchoTime, dataset.EchoNumbers = "80", 2
    return slices + others


@kind("two reconstructions interleaved by half a step, with different EchoTime", source=mr, refuse=r"(?i)echo|differ")
def echoes_interleaved(slices):
    others = [other_pixels(dataset, "echo") for dataset in slices]
    for dataset in others:
        move(dataset, STEP_MM / 2 * NORMAL)
        dataset.EchoTime, dataset.EchoNumbers = "80", 2
    return slices + others


@kind("a localizer in the series", refuse=r"(?i)locali[sz]er|orientation differs", either=True)
def localizer_in_series(slices):
    scout = other_instance(slices[0], "scout")
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImageOrientationPatient = [str(value) for value in CORONAL]
    slices.append(scout)
    return _without_last(slices)


def _without_last(slices):
    """The truth is the series without its last dataset, which is written nevertheless."""
    return WithExtra(slices[:-1], slices[-1:])


class WithExtra(list):
    """Datasets that make the true volume, and ``extra`` ones that are written beside them."""

    def __init__(self, slices, extra):
        super().__init__(slices)
        self.extra = extra


@kind("two orientations in one series", refuse=r"(?i)orientation")
def mixed_orientation(slices):
    for dataset in slices[5:]:
        dataset.ImageOrientationPatient = ["1", "0", "0", "0", "0.8", "0.6"]


@kind("two pixel spacings in one series", refuse=r"(?i)PixelSpacing|pixel spacing")
def mixed_pixel_spacing(slices):
    for dataset in slices[5:]:
        dataset.PixelSpacing = ["2.5", "2.2"]


@kind("two sizes in one series", refuse=r"(?i)\bsize\b|rows|columns")
def mixed_size(slices):
    return slices[:5] + stack(rows=24, columns=20)[5:]


@kind("a second series that goes on where the first one ends", refuse=r"2 image series")
def continued_in_second_series(slices):
    others = ct()
    for k, dataset in enumerate(others):
        dataset.SOPInstanceUID = uid("continued", k)
        dataset.SeriesInstanceUID, dataset.SeriesNumber = uid("continued"), 2
        move(dataset, 9 * STEP_MM * NORMAL)
    return slices + others

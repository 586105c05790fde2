"""Alterations of the place of the slices: positions, orientation and pixel spacing."""

from __future__ import annotations

import numpy as np
from dicom_altered.kind import add, kind, same, set_all, set_one
from dicom_altered.slices import STEP_MM, ds, move, set_raw, stack

NORMAL = np.array([0.0, 0.0, 1.0])
OBLIQUE = (0.8, 0.48, -0.36, -0.6, 0.64, -0.48)
SAGITTAL = (0, 1, 0, 0, 0, -1)
CORONAL = (1, 0, 0, 0, 0, -1)
REVERSED = (1, 0, 0, 0, -1, 0)  # the normal points to the feet
FLIPPED = (-1, 0, 0, 0, -1, 0)  # a patient who lies on the belly
MISSING_PLACE = r"(?i)no {0}|{0}.*missing"


def turned(orientation):
    return lambda: stack(orientation=orientation)


add("oblique", "slices oblique to all three axes", same, source=turned(OBLIQUE))
add("sagittal", "sagittal slices", same, source=turned(SAGITTAL))
add("coronal", "coronal slices", same, source=turned(CORONAL))
add(
    "reversed_normal",
    "columns run backwards, so that the normal points to the feet",
    same,
    source=turned(REVERSED),
)
add("prone", "rows and columns run backwards", same, source=turned(FLIPPED))
add("non_square", "pixels of 3.5 mm x 0.8 mm", same, source=lambda: stack(spacing=(3.5, 0.8)))
add("single_slice", "one slice alone", lambda slices: slices[4:5])
add("two_slices", "two slices", lambda slices: slices[4:6])
add("missing_at_ends", "slices missing at both ends, which nobody can see", lambda slices: slices[1:-2])


@kind("cosines rounded to six decimals", source=lambda: stack(orientation=OBLIQUE))
def rounded_cosines(slices):
    turn = np.radians(7.3)
    cosines = np.array([np.cos(turn), np.sin(turn), 0, -np.sin(turn), np.cos(turn), 0])
    for k, dataset in enumerate(slices):
        dataset.ImageOrientationPatient = [f"{value:.6f}" for value in cosines]
        dataset.ImagePositionPatient = ds([1.5, 2.5, STEP_MM * k])


@kind("positions far from the origin")
def far_away(slices):
    for dataset in slices:
        move(dataset, [1234.5, -2345.25, 3456.75])


@kind("cosines written as -0")
def negative_zero(slices):
    for dataset in slices[::2]:
        dataset.ImageOrientationPatient = ["1", "-0", "-0.000000", "-0", "1", "0"]


GAP = r"(?i)missing slice|uneven"
MISSING = (
    ("one_missing", "one slice missing inside", (4,), r"(?i)\b(1|one) missing slice"),
    ("two_missing", "two neighbouring slices missing inside", (4, 5), r"(?i)\b(2|two) missing slices"),
    ("gap_of_three", "three slices left, the middle one missing its neighbour", (0, 1, 2, 5, 7, 8), GAP),
    ("thinned", "every other slice missing but at one end", (1, 3, 5), GAP),
    ("two_gaps", "two slices missing at different places", (2, 6), r"(?i)missing slice"),
    ("every_other_of_half", "every other slice of one half missing", (1, 3), r"(?i)missing slice|uneven"),
    ("four_missing", "four neighbouring slices missing", (3, 4, 5, 6), r"(?i)\b(4|four) missing slices"),
)
for _name, _text, _lost, _cause in MISSING:
    add(
        _name,
        _text,
        lambda slices, lost=_lost: [one for k, one in enumerate(slices) if k not in lost],
        refuse=_cause,
    )


@kind("two slabs of one series with 40 mm between them", refuse=r"(?i)missing slice|uneven|gap")
def two_slabs(slices):
    for dataset in slices[5:]:
        move(dataset, 40 * NORMAL)


@kind("one slice 0.5 mm off its place along the normal", refuse=r"(?i)uneven|spacing|steps")
def uneven_beyond(slices):
    move(slices[4], 0.5 * NORMAL)


@kind("steps that differ by 3 %: the ends are as they say", tolerance_mm=0.06)
def uneven_within(slices):
    for dataset in slices[1:-1:2]:
        move(dataset, 0.045 * NORMAL)


@kind("steps that grow along the series from 3 to 4.2 mm", refuse=r"(?i)uneven|spacing|steps")
def growing_steps(slices):
    for k, dataset in enumerate(slices):
        move(dataset, 0.075 * k * k * NORMAL)


@kind("places with 0.01 mm of jitter in all directions", tolerance_mm=0.02)
def jitter(slices):
    rng = np.random.default_rng(11)
    for dataset in slices:
        move(dataset, rng.uniform(-0.01, 0.01, 3))


@kind("places with 0.00001 mm of jitter")
def tiny_jitter(slices):
    rng = np.random.default_rng(12)
    for dataset in slices:
        move(dataset, rng.uniform(-1e-5, 1e-5, 3))


def tilted(degrees):
    def change(slices):
        for k, dataset in enumerate(slices):
            move(dataset, [0, k * STEP_MM * np.tan(np.radians(degrees)), 0])

    return change


add("tilt_slight", "positions that drift by 0.3 degrees against the normal", tilted(0.3))
add(
    "tilt_long_stack",
    "a drift of 0.9 degrees over 40 slices, 1.8 mm at the end",
    tilted(0.9),
    source=lambda: stack(count=40, rows=8, columns=8),
    refuse=r"(?i)tilt",
    either=True,
)
add("gantry_tilt", "a gantry tilt of 10 degrees", tilted(10), refuse=r"(?i)tilt", either=True)


@kind("one slice 1 mm off its place within its plane", refuse=r"(?i)shifted")
def shifted_in_plane(slices):
    move(slices[4], [1, 0, 0])


@kind("the second half shifted by 2 mm within the plane (the patient moved)", refuse=r"(?i)shift|tilt")
def half_shifted(slices):
    for dataset in slices[5:]:
        move(dataset, [2, 0, 0])


for _keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
    _short = {"P": "position", "O": "orientation", "S": "spacing"}[
        _keyword.replace("Image", "").replace("Pixel", "")[0]
    ]
    add(f"{_short}_missing", f"no {_keyword}", set_all(_keyword, None), refuse=MISSING_PLACE.format(_keyword))
    add(
        f"{_short}_missing_in_one",
        f"no {_keyword} in one slice",
        lambda slices, keyword=_keyword: set_one(slices[4], keyword, None),
        refuse=MISSING_PLACE.format(_keyword),
    )
    add(
        f"{_short}_empty",
        f"an empty {_keyword}",
        lambda slices, keyword=_keyword: [set_raw(one, keyword, "") for one in slices] and None,
        refuse=MISSING_PLACE.format(_keyword),
    )


def raw(keyword, text):
    def change(slices):
        for dataset in slices:
            set_raw(dataset, keyword, text)

    return change


add("spacing_zero", "PixelSpacing 0", raw("PixelSpacing", "0\\0"), refuse="PixelSpacing")
add("spacing_negative", "PixelSpacing below 0", raw("PixelSpacing", "-2.5\\2.0"), refuse="PixelSpacing")
add("spacing_text", "PixelSpacing that is no number", raw("PixelSpacing", "wide\\2.0"), refuse="PixelSpacing")
add("spacing_nan", "PixelSpacing nan", raw("PixelSpacing", "nan\\2.0"), refuse="PixelSpacing")
add("spacing_one_value", "PixelSpacing of one value", raw("PixelSpacing", "2.5"), refuse="PixelSpacing")
add(
    "position_two_values",
    "ImagePositionPatient of two values",
    raw("ImagePositionPatient", "1\\2"),
    refuse="ImagePositionPatient",
)
add(
    "position_nan",
    "ImagePositionPatient with nan",
    raw("ImagePositionPatient", "1\\2\\nan"),
    refuse="ImagePositionPatient",
)
add(
    "orientation_zero",
    "ImageOrientationPatient of zeros",
    raw("ImageOrientationPatient", "0\\0\\0\\0\\0\\0"),
    refuse=r"(?i)orientation",
)
add(
    "orientation_parallel",
    "rows and columns in one direction",
    raw("ImageOrientationPatient", "1\\0\\0\\1\\0\\0"),
    refuse=r"(?i)orientation",
)
add(
    "orientation_long",
    "cosines of length 2",
    raw("ImageOrientationPatient", "2\\0\\0\\0\\2\\0"),
    refuse=r"(?i)orientation",
)

"""Enhanced multi-frame images that are no single sound volume."""

from __future__ import annotations

import copy

from dicom_altered.enhanced import frame, group, write_enhanced
from dicom_altered.kind import add, same
from dicom_altered.slices import STEP_MM, move, mr, other_pixels, set_raw, stack

NOT_ONE = r"(?i)not one evenly spaced volume|"


# Two values per voxel, or two volumes


def two_stacks(slices):
    """The second stack is coronal."""
    others = stack(orientation=(1, 0, 0, 0, 0, -1), seed=9)
    return slices + others


def stack_ids(dataset):
    for number in range(9, 18):
        frame(dataset, number).FrameContentSequence[0].StackID = "2"
        frame(dataset, number).FrameContentSequence[0].DimensionIndexValues = [2, number - 8]


def parallel_stacks(slices):
    others = copy.deepcopy(slices)
    for dataset in others:
        move(dataset, [0, 0, 60])
    return slices + others


def frames_doubled(slices):
    return slices + [other_pixels(dataset, "echo") for dataset in slices]


def echoes(dataset):
    for number, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        groups.MREchoSequence = group(EffectiveEchoTime=10.0 if number < 9 else 80.0)


def times(dataset):
    for number, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        groups.FrameContentSequence[0].TemporalPositionIndex = 1 + number // 9


add(
    "enhanced_two_stacks",
    "an enhanced CT of an axial and a coronal stack",
    two_stacks,
    write=write_enhanced(stack_ids, shared=False),
    refuse=NOT_ONE + "stack|orientation",
)
add(
    "enhanced_parallel_stacks",
    "an enhanced CT of two parallel stacks 36 mm apart",
    parallel_stacks,
    write=write_enhanced(stack_ids, shared=False),
    refuse=NOT_ONE + "stack|missing|uneven",
)
add(
    "enhanced_two_echoes",
    "an enhanced MR of two echoes",
    frames_doubled,
    source=mr,
    write=write_enhanced(echoes),
    refuse=NOT_ONE + "echo|one position",
)
add(
    "enhanced_two_times",
    "an enhanced MR of two time points",
    frames_doubled,
    source=mr,
    write=write_enhanced(times),
    refuse=NOT_ONE + "time|temporal|one position",
)


# Damage


def no_position(dataset):
    del frame(dataset, 4).PlanePositionSequence


def no_orientation(dataset):
    del dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence


def no_measures(dataset):
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence


def fewer_groups(dataset):
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:-1]


def short_pixels(dataset):
    dataset.PixelData = dataset.PixelData[:-500]


def zero_slope(dataset):
    dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0].RescaleSlope = "0"


def zero_spacing(dataset):
    set_raw(dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0], "PixelSpacing", "0\\0")


def text_spacing(dataset):
    set_raw(dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0], "PixelSpacing", "wide\\2")


def wrong_between(dataset):
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = "5"


def other_spacing(slices):
    for dataset in slices[5:]:
        dataset.PixelSpacing = ["2.5", "2.2"]


def shifted(slices):
    move(slices[4], [1, 0, 0])


def tilted(slices):
    for k, dataset in enumerate(slices):
        move(dataset, [0, 0.1763 * STEP_MM * k, 0])


def uneven(slices):
    move(slices[4], [0, 0, 0.5])


add(
    "enhanced_no_position",
    "an enhanced CT with a frame without a position",
    same,
    write=write_enhanced(no_position),
    refuse=NOT_ONE + "position",
)
add(
    "enhanced_no_orientation",
    "an enhanced CT without an orientation",
    same,
    write=write_enhanced(no_orientation),
    refuse=NOT_ONE + "orientation",
)
add(
    "enhanced_no_spacing",
    "an enhanced CT without PixelSpacing",
    same,
    write=write_enhanced(no_measures),
    refuse=NOT_ONE + "spacing",
)
add(
    "enhanced_fewer_groups",
    "an enhanced CT with one per-frame group too few",
    same,
    write=write_enhanced(fewer_groups),
    refuse=NOT_ONE + "frames|groups",
)
add(
    "enhanced_short_pixels",
    "an enhanced CT with too few pixels",
    same,
    write=write_enhanced(short_pixels),
    refuse=r"(?i)truncated|bytes of pixel data",
)
add(
    "enhanced_zero_slope",
    "an enhanced CT with RescaleSlope 0",
    same,
    write=write_enhanced(zero_slope),
    refuse=r"RescaleSlope",
)
add(
    "enhanced_zero_spacing",
    "an enhanced CT with PixelSpacing 0",
    same,
    write=write_enhanced(zero_spacing),
    refuse=NOT_ONE + "spacing",
)
add(
    "enhanced_text_spacing",
    "an enhanced CT with PixelSpacing that is no number",
    same,
    write=write_enhanced(text_spacing),
    refuse=NOT_ONE + "spacing",
)
add(
    "enhanced_wrong_between",
    "an enhanced CT whose SpacingBetweenSlices contradicts the positions",
    same,
    write=write_enhanced(wrong_between),
    refuse=NOT_ONE + "SpacingBetweenSlices",
    either=True,
)
add(
    "enhanced_mixed_spacing",
    "an enhanced CT of two pixel spacings",
    other_spacing,
    write=write_enhanced(shared=False),
    refuse=NOT_ONE + "spacing",
)
add(
    "enhanced_shifted",
    "an enhanced CT with one frame shifted by 1 mm in its plane",
    shifted,
    write=write_enhanced(),
    refuse=NOT_ONE + "shifted",
)
add(
    "enhanced_tilted",
    "an enhanced CT with a gantry tilt of 10 degrees",
    tilted,
    write=write_enhanced(),
    refuse=NOT_ONE + "tilt",
    either=True,
)
add(
    "enhanced_uneven",
    "an enhanced CT with one frame 0.5 mm off its place",
    uneven,
    write=write_enhanced(),
    refuse=NOT_ONE + "uneven",
)

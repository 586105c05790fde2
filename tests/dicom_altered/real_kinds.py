"""The most telling alterations once more on ten slices of real CT, MR and PET series of patients."""

from __future__ import annotations

import functools

import numpy as np
from dicom_altered.kind import KINDS, add, same
from dicom_altered.slices import move, other_pixels, real
from pydicom.uid import RLELossless

PATIENTS = {"ct": ("STS_006", "CT"), "mr": ("STS_025", "MR_T1"), "pet": ("STS_001", "PET")}


def one_missing(slices):
    return slices[:4] + slices[5:]


def numbers_reversed(slices):
    for number, dataset in enumerate(reversed(slices), start=1):
        dataset.InstanceNumber = number


def wrong_thickness(slices):
    for dataset in slices:
        dataset.SliceThickness, dataset.SpacingBetweenSlices = "9", "-7"


def shifted(slices):
    move(slices[3], np.array([0, 1.5, 0]))


def second_volume(slices):
    return slices + [other_pixels(dataset, "again") for dataset in slices]


def write_rle(slices, folder):
    from dicom_altered.encoding_kinds import compressed

    compressed(RLELossless)(slices, folder)


ALTERATIONS = (
    ("sound", "nothing is altered", same, {}),
    ("one_missing", "one slice missing inside", one_missing, {"refuse": r"(?i)\b(1|one) missing slice"}),
    ("numbers_reversed", "InstanceNumber runs against the positions", numbers_reversed, {}),
    ("wrong_thickness", "wrong SliceThickness and negative SpacingBetweenSlices", wrong_thickness, {}),
    ("shifted", "one slice shifted by 1.5 mm within its plane", shifted, {"refuse": r"(?i)shifted"}),
    ("second_volume", "two volumes of other values at the same positions", second_volume,
     {"refuse": KINDS["duplicate_other_pixels"].refuse}),
    ("rle", "RLE", same, {"write": write_rle}),
)  # fmt: skip
for _modality, (_patient, _folder) in PATIENTS.items():
    for _name, _text, _change, _options in ALTERATIONS:
        add(
            f"real_{_modality}_{_name}",
            f"a patient's {_modality.upper()}: {_text}",
            _change,
            source=functools.partial(real, patient=_patient, modality=_folder),
            **_options,
        )

"""Where the slices of a volume lie in the patient.

Points and affines are in DICOM's patient coordinates, LPS, in millimetres (PS3.3 C.7.6.2.1.1), but for
:func:`ras_affine`, the one place where they become MONAI's and NIfTI's RAS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from highdicom import VolumeGeometry

from pipeline.errors import InputError
from pipeline.space import swap_lps_ras

if TYPE_CHECKING:
    from pipeline.dicom.reading.header import Header

__all__ = ["Stack", "TiltError", "ras_affine"]

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"

JITTER_MM = 0.01
"""How far a slice may lie from its place without a word: scanners round positions."""

DRIFT_TOLERANCE = 0.1
"""How far, as a part of the step, a slice may lie from the evenly spaced grid that the affine describes."""

TILT_DEGREES = 1.0


@dataclass(frozen=True, eq=False)
class Stack:
    """The slices of one volume in order, and the grid they make.

    ``geometry`` is highdicom's: axes (slice, row, column), LPS. The slices go against the normal
    (row direction x column direction), which makes those three axes right-handed.
    """

    headers: tuple[Header, ...]
    geometry: VolumeGeometry

    @property
    def ras_affine(self) -> Array:
        """The 4x4 affine from voxel (i, j, k) = (column, row, slice) to RAS millimetres.

        Unlike ``geometry``, whose axes must be perpendicular, it goes along with slices that drift sideways by as much
        as is accepted.
        """
        affine = ras_affine(self.geometry)
        way = swap_lps_ras(np.subtract(self.headers[-1].position, self.headers[0].position))
        steps = len(self.headers) - 1
        if steps and np.linalg.norm(way - steps * affine[:3, 2]) > 2 * JITTER_MM:
            affine[:3, 2] = way / steps
        return affine

    def check(self, affine: Array) -> None:
        """Take the affine that is handed on back to DICOM's coordinates, and compare with the slices' own positions.

        Raises:
            InputError: it puts the first pixel of a slice elsewhere than ImagePositionPatient says (C.7.6.2.1.1).
        """
        along = np.arange(len(self.headers))
        voxels = np.stack([0 * along, 0 * along, along, along**0])
        away = swap_lps_ras((affine @ voxels)[:3].T) - [header.position for header in self.headers]
        worst = int(np.argmax(np.linalg.norm(away, axis=1)))
        allowed = max(2 * JITTER_MM, 2 * DRIFT_TOLERANCE * min(self.geometry.spacing))
        if not np.linalg.norm(away[worst]) <= allowed:
            raise InputError(
                "the affine does not lead back to the slice's position",
                where=self.headers[worst].name,
                expected=f"within {allowed:.3g} mm",
                got=f"{np.linalg.norm(away[worst]):.3g} mm",
            )


class TiltError(InputError):
    """The slices are one evenly spaced volume, and all that is wrong with them is the tilt of the gantry.

    Attributes:
        stack: the slices; its ``ras_affine`` is sheared, unlike its ``geometry``, which only fits the first slice.
    """

    def __init__(self, stack: Stack, degrees: float) -> None:
        super().__init__(
            "the slices are not stacked along their normal: the gantry was tilted",
            where=stack.headers[-1].name,
            expected=f"at most {TILT_DEGREES:g} degree",
            got=f"{degrees:.1f} degrees",
            cure="Give --untilt to resample it to an upright grid, or a reconstruction without tilt",
        )
        self.stack = stack


def ras_affine(geometry: VolumeGeometry) -> Array:
    """Return the 4x4 affine from voxel (i, j, k) = (column, row, slice) to RAS millimetres.

    Args:
        geometry: axes (slice, row, column), LPS.
    """
    lps: Array = np.asarray(geometry.affine, dtype=np.float64)
    return swap_lps_ras(lps[:, [2, 1, 0, 3]], affine=True)

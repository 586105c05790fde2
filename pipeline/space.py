"""LPS, the patient coordinates of DICOM and ITK, and RAS, those of NIfTI and MONAI, both in mm.

LPS runs to the patient's left, back (posterior) and head (superior) (PS3.3 C.7.6.2.1.1), RAS to the right, front and
head. The way from one to the other is its own way back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["swap_lps_ras"]

_SIGNS = np.array([-1.0, -1.0, 1.0])


def swap_lps_ras(places: npt.ArrayLike, *, affine: bool = False) -> npt.NDArray[np.float64]:
    """Points or an affine, from LPS to RAS or back.

    Args:
        places: points or directions of shape (..., 3); or an affine, or the three rows of one that count, whose
            columns are voxel axes and origin, of shape (3, N) or (4, N).
        affine: whether it is an affine.
    """
    values = np.array(places, dtype=np.float64)
    if affine:
        values[:3] *= _SIGNS[:, None]
        return values
    return np.asarray(values * _SIGNS)

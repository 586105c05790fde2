"""Changes to a slice, for ``Study.alter``."""

from __future__ import annotations


def set_to(**values):
    """A change that gives elements these values, and takes out those of None."""

    def change(dataset, _index):
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return change


def move(dataset, *, x=0.0, z=0.0) -> None:
    """Move a slice by that many mm."""
    at = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [f"{float(at[0]) + x:.6f}", at[1], f"{float(at[2]) + z:.6f}"]

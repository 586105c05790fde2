"""One kind of alteration: what is done to a sound series, and what a reader ought to make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dicom_altered import slices as sources
from dicom_altered.truth import Truth, plane_truth

KINDS: dict[str, Kind] = {}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """An alteration of a series.

    ``change`` alters the list of datasets, in place or by returning another list; ``write`` puts it into a folder;
    ``after`` alters the files. The truth is taken between the first two. ``refuse`` is a regular expression that
    the reason for a refusal matches, and None for a series that is to be loaded. ``either`` says that a reader that
    loads the true volume is as right as one that refuses.
    """

    name: str
    text: str
    source: Callable
    change: Callable
    write: Callable = sources.write
    after: Callable | None = None
    refuse: str | None = None
    either: bool = False
    tolerance_mm: float = 1e-4

    def make(self, folder: Path, data: Path | None = None) -> tuple[bool, Truth | None]:
        """Write the altered series; give (whether its source is there, the truth if there is one)."""
        slices = self.source(data) if self.real else self.source()
        if slices is None:
            return False, None
        folder.mkdir(parents=True, exist_ok=True)
        changed = self.change(slices)
        slices = slices if changed is None else changed
        truth = plane_truth(slices, self.tolerance_mm) if self.refuse is None or self.either else None
        self.write([*slices, *getattr(slices, "extra", [])], folder)
        if self.after is not None:
            self.after(folder)
        return True, truth

    @property
    def real(self) -> bool:
        """Whether it is made from a patient's series."""
        return self.name.startswith("real_")


def add(name, text, change, *, source=sources.ct, **options) -> None:
    """Register a kind."""
    if name in KINDS:
        raise ValueError(f"two kinds are named {name}")
    KINDS[name] = Kind(name=name, text=text, source=source, change=change, **options)


def kind(text, **options):
    """Register the decorated function as the ``change`` of a kind that is named as it is."""

    def register(change):
        add(change.__name__, text, change, **options)
        return change

    return register


def same(slices):
    """The change that changes nothing, for kinds that are in how the series is written."""


def set_all(keyword, value):
    """The change that gives all slices one value; None takes the element away."""

    def change(slices):
        for dataset in slices:
            set_one(dataset, keyword, value)

    return change


def set_one(dataset, keyword, value) -> None:
    if value is not None:
        setattr(dataset, keyword, value)
    elif keyword in dataset:
        delattr(dataset, keyword)

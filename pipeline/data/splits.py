"""Patient-level splits, written next to the weights that they made."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pipeline.data.channels import Rule
from pipeline.data.classes import find_classified
from pipeline.data.content import content_of, copies
from pipeline.data.datalists import read_datalist, write_datalist
from pipeline.data.inputs import Case
from pipeline.data.leakage import Overlap, find_overlaps, overlap_error, patient_of
from pipeline.data.pairs import find_pairs
from pipeline.data.turned import check_turned
from pipeline.errors import InputError
from pipeline.sources.given import given_path
from pipeline.sources.paths import NO_IMAGE

__all__ = ["DataSplit"]

FORMAT_VERSION = 1
ALL = "all"
"""In place of a fold: no fold is left out of the training."""

Fold: TypeAlias = "int | str"
_MIN_FOLDS = 2
_Place: TypeAlias = "int | str | None"

logger = logging.getLogger(__name__)


class DataSplit:
    """The labelled cases of a folder, dealt by patient into test and folds.

    The deal is kept in a datalist file beside the weights, so that a later evaluation knows which cases the weights
    have seen. Where the file lists none of the folder's cases, training deals them anew; :meth:`save` then replaces
    the file, at the same time as the weights. The file has the form of MONAI's Auto3DSeg datalists:
    ``{"test": [...], "training": [{"image", "label", "fold", ...}]}``.

    Exact copies of an image are dealt into one part, as one patient's images are. Where a datalist separates them, or
    an evaluated case shows an image or a patient that the weights have seen, the split is refused.

    Args:
        dataset_dir: see :func:`pipeline.data.find_pairs` and, with ``classes``, :func:`pipeline.data.find_classified`.
        datalist_file: where an earlier deal is read from and a new one is saved.
        test_fraction: share of the patients kept for testing.
        folds: number of folds of the other patients.
        seed: seed of the deal; the same patients and seed always give the same deal.
        patient_pattern: regular expression whose first group in a case's name is the patient; without one a case
            belongs to the patient that its files tell, and else it is its own.
        classes: the names of the classes of a classification, each of which is dealt evenly into the parts.
        multi_label: whether several classes may hold for one image.
        modality: DICOM's code of the modality to take, see :func:`pipeline.data.find_pairs`.
        channels: what tells each image of a case of several, see :func:`pipeline.data.find_inputs`.

    Raises:
        InputError: see :func:`pipeline.data.find_pairs`; a name that the pattern does not match; too few patients;
            copies of one image, or images of one patient, in two parts.
    """

    def __init__(
        self,
        *,
        dataset_dir: str | Path | None,
        datalist_file: str | Path,
        test_fraction: float = 0.1,
        folds: int = 5,
        seed: int = 0,
        patient_pattern: str | None = None,
        classes: Sequence[str] | None = None,
        multi_label: bool = False,
        modality: str | None = None,
        channels: Sequence[Rule] | None = None,
    ) -> None:
        self.root = given_path(dataset_dir or "").absolute()
        self.datalist_file = Path(datalist_file)
        self.test_fraction, self.folds, self.seed = test_fraction, folds, seed
        self._pattern = re.compile(patient_pattern) if patient_pattern else None
        if classes is None:
            cases = find_pairs(dataset_dir, modality=modality, channels=channels)
        else:
            cases = find_classified(dataset_dir, classes, multi_label=multi_label, channels=channels)
        check_turned(cases)
        self.cases: list[Case] = [{**case, "patient": patient_of(case, self._pattern)} for case in cases]
        self._listed: dict[str, Case] = {}
        self._fold: Fold | None = None  # that the weights beside the datalist left out, where it says so
        self._place = self._read_places()
        self._changed = False

    def training(self, fold: Fold) -> list[Case]:
        """The cases of all folds but one, or of ``all``, dealt now if this folder's cases were not dealt before."""
        self._open_fold(fold)
        self._changed, self._fold = self._changed or fold != self._fold, fold
        unlisted = len(self._placed(lambda place: place is None))
        if unlisted:
            logger.warning(
                "%d of %d cases are not in %s and are left out; delete it to deal all anew",
                unlisted,
                len(self.cases),
                self.datalist_file,
            )
        cases = self._placed(lambda place: place not in (None, "test", fold))
        if not cases:
            raise InputError(
                "nothing is left to train on beside the fold that validates",
                where=self.root,
                got=f"{len({case['patient'] for case in self.cases})} patient(s)",
                cure="Give more patients, or train on all with --fold all",
            )
        return cases

    def validation(self, fold: Fold) -> list[Case]:
        """The cases of one fold; with ``all``, which leaves none out, those of fold 0, which tell the course alone."""
        self._open_fold(fold)
        cases = self._placed(lambda place: place == (0 if fold == ALL else fold))
        if fold != ALL:
            self._refuse_known(cases, lambda place: place not in (None, "test", fold))
        return cases

    def held_out(self) -> list[Case]:
        """The cases that no training used: the test part, and cases that the datalist does not name.

        Raises:
            InputError: one of them shows an image or a patient that the weights have seen, or there is none.
        """
        self._tell_apart()
        if not self.datalist_file.is_file() and not self._place:
            logger.warning("%s is missing: nothing tells which cases the weights have seen", self.datalist_file)
        cases = self._placed(lambda place: place in (None, "test"))
        self._refuse_known(cases, lambda place: place not in (None, "test"))
        if not cases:
            raise InputError(
                "every case of it was used in training or validation",
                where=self.root,
                cure="Give data that the weights have not seen, or --subset validation",
            )
        if len(cases) < len(self.cases):
            logger.info("%d of %d cases were used in training and are left out", self._seen(), len(self.cases))
        return cases

    def select(self, split: str, fold: Fold = 0) -> list[Case]:
        """Cases by the name of their part: ``test`` (held out), ``validation``, ``training`` or ``all``.

        Raises:
            InputError: there is no such part, it is empty, or the weights were trained on the fold that shall validate.
        """
        if split == "validation" and (self._fold == ALL or self._fold not in (None, fold)):
            cure = "Give --subset test" if self._fold == ALL else f"Give --fold {self._fold}, or --subset test"
            raise InputError(f"the weights were trained on fold {fold}", where=self.datalist_file, cure=cure)
        if split in ("all", "training"):
            self._tell_apart()
            logger.warning("subset %s: %d of %d cases were used in training", split, self._seen(), len(self.cases))
        if split == "all":
            return self.cases
        parts: dict[str, Callable[[], list[Case]]] = {
            "test": self.held_out,
            "validation": lambda: self.validation(fold),
            "training": lambda: self.training(fold),
        }
        if split not in parts:
            raise InputError(f"no split {split}", expected="test, validation, training or all")
        return parts[split]()

    def references(self) -> dict[str, Any]:
        """The label of each case by its name: a path, or the index or flags of its class."""
        return {case["name"]: case["label"] for case in self.cases}

    def patients(self) -> dict[str, str]:
        """The patient of each case by its name."""
        return {case["name"]: case["patient"] for case in self.cases}

    def _seen(self) -> int:
        return len(self._placed(lambda place: place not in (None, "test")))

    def _placed(self, wanted: Any) -> list[Case]:
        return [case for case in self.cases if wanted(self._place.get(case["name"]))]

    def _open_fold(self, fold: Fold) -> None:
        """Deal if needed; then no image may be on both sides of the fold."""
        self._tell_apart()
        self._deal_if_new()
        self._check_fold(fold)
        listed = [case for case in self.cases if case["name"] in self._place]
        owners: dict[str, str] = {}
        pairs = [Overlap(case, group[0]["name"], "image") for group in copies(listed) for case in group[1:]]
        pairs += [Overlap(case, owners.setdefault(case["patient"], case["name"]), "patient") for case in listed]
        apart = [one for one in pairs if self._place[one.case["name"]] != self._place[one.other]]
        if apart:
            what = f"{len(apart)} cases of it are in another part of the split than the same image or patient"
            cure = f"Put them into one part in {self.datalist_file}, or delete that file to deal all anew"
            raise overlap_error(apart, root=self.root, what=what, cure=cure)

    def _refuse_known(self, cases: list[Case], trained: Callable[[_Place], bool]) -> None:
        """Refuse cases that show an image or a patient of the parts that were trained on, here or in the datalist."""
        listed = [entry for entry in self._listed.values() if trained(entry.get("fold", "test"))]
        overlaps = find_overlaps(cases, present=self._placed(trained), listed=listed, pattern=self._pattern)
        if overlaps:
            raise overlap_error(
                overlaps,
                root=self.root,
                what=f"{len(overlaps)} of {len(cases)} cases to score were trained on, by image or patient",
                cure="Take them out of the data; a case of another patient with the same number needs another name",
            )

    def _tell_apart(self) -> None:
        """A case that has a listed case's name but shows something else is another case."""
        for case in self.cases:
            content = self._listed.get(case["name"], {}).get("content")
            if content is not None and content_of(case) != content:
                self._place.pop(case["name"], None)

    def _check_fold(self, fold: Fold) -> None:
        folds = {place for place in self._place.values() if place != "test"}
        if fold not in folds | {ALL}:
            expected = f"one of {sorted(folds, key=str)}, or all"
            raise InputError(f"no fold {fold}", where=self.datalist_file, expected=expected)

    def _read_places(self) -> dict[str, int | str]:
        if not self.datalist_file.is_file():
            return {}
        content = read_datalist(self.datalist_file)
        self._fold = content.get("fold")
        self._listed = {entry["name"]: entry for entry in (*content["test"], *content["training"])}
        return {name: entry.get("fold", "test") for name, entry in self._listed.items()}

    def _deal_if_new(self) -> None:
        if any(case["name"] in self._place for case in self.cases):
            return
        owners = self._owners()
        strata: dict[int, list[str]] = {}
        for owner, cases in sorted(owners.items()):
            label = cases[0]["label"]
            strata.setdefault(label if isinstance(label, int) else 0, []).append(owner)
        if self.folds < _MIN_FOLDS:
            raise InputError("too few folds", where=self.root, expected=f"at least {_MIN_FOLDS}", got=self.folds)
        generator, place = np.random.default_rng(self.seed), dict[str, int | str]()
        for _, names in sorted(strata.items()):
            order = [names[i] for i in generator.permutation(len(names))]
            tested = min(max(1, round(self.test_fraction * len(order))), max(len(order) - _MIN_FOLDS, 0))
            place.update(dict.fromkeys(order[:tested], "test"))
            place.update({owner: i % self.folds for i, owner in enumerate(order[tested:])})
        self._tell_small(place)
        self._place = {case["name"]: place[owner] for owner, cases in owners.items() for case in cases}
        self._listed, self._changed = {}, True

    def _tell_small(self, place: Mapping[str, int | str]) -> None:
        """Say what a set of a few patients can and cannot do."""
        tested = sum(one == "test" for one in place.values())
        trained = len(place) - tested
        if trained < _MIN_FOLDS:
            logger.warning("one patient: no other one is there to validate or to test on; --fold all trains on it")
        elif trained < self.folds:
            logger.warning(
                "%d patients: %d for testing, %d in as many folds of one each; the scores say little",
                len(place), tested, trained,
            )  # fmt: skip

    def _owners(self) -> dict[str, list[Case]]:
        """The cases that must stay together, by a patient's name: one patient's, and exact copies of each other."""
        owner = {case["patient"]: case["patient"] for case in self.cases}
        for group in copies(self.cases):
            joined = {owner[case["patient"]] for case in group}
            logger.info("%s show the same image and stay together", ", ".join(case["name"] for case in group))
            owner = {patient: min(joined) if one in joined else one for patient, one in owner.items()}
        owners: dict[str, list[Case]] = {}
        for case in self.cases:
            owners.setdefault(owner[case["patient"]], []).append(case)
        return owners

    def save(self) -> None:
        """Write the deal and the fold that was left out, if they are new; whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        if not self._changed:
            return

        def entry(case: Case) -> Case:
            about = {key: case[key] for key in ("name", "patient", "image", "label")}
            about["image"] = _below(about["image"], self.root)
            if isinstance(about["label"], str):  # else it is a class
                about["label"] = _below(about["label"], self.root)
            return {**about, "content": content_of(case)}

        content = {
            "format_version": FORMAT_VERSION,
            "seed": self.seed,
            "folds": self.folds,
            "fold": self._fold,
            "test": [entry(case) for case in self._placed(lambda place: place == "test")],
            "training": [
                {**entry(case), "fold": self._place[case["name"]]}
                for case in self._placed(lambda place: place != "test")
            ],
        }
        write_datalist(self.datalist_file, content)
        self._changed = False


def _below(place: str | list[str], root: Path) -> str | list[str]:
    """A path, or each of several, from the folder of the data on."""
    if not isinstance(place, str):
        return [str(_below(one, root)) for one in place]
    return place if place == NO_IMAGE else Path(os.path.relpath(place, root)).as_posix()

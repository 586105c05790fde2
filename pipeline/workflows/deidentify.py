"""Copy the DICOM files of a folder without what identifies the patients."""

from __future__ import annotations

import csv
import logging
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset
from rich.console import Console
from rich.progress import track

from pipeline.dicom.deidentification.attributes import Changes, Dates, deidentify_dataset, silent_pydicom
from pipeline.dicom.deidentification.intact import PassedOver, object_kind, read_whole
from pipeline.dicom.deidentification.pseudonyms import Pseudonyms, read_key, read_uid_map, write_uid_map
from pipeline.dicom.elements import text, whole_number
from pipeline.errors import InputError
from pipeline.writing import whole_file

__all__ = ["Deidentified", "deidentify"]

logger = logging.getLogger(__name__)

_COUNTS = ("removed", "emptied", "replaced", "uids", "dates", "private")
_COLUMNS = ("file", "result", "new_path", "kind", *_COUNTS, "note", "reason")
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
_FACES = re.compile("HEAD|BRAIN|SKULL|FACE|NECK|ORBIT|SINUS|JAW|MAXILLA|EAR|EYE|TEETH|WHOLEBODY")
_FACE_MODALITIES = {"CT", "MR", "NM", "PT"}
_TEXT_MODALITIES = {"CR", "DX", "ES", "GM", "IVUS", "MG", "OT", "RF", "SC", "US", "XA", "XC"}
_FEW = 20


@dataclass(frozen=True, kw_only=True)
class Deidentified:
    """What a run did.

    Attributes:
        output: the folder of the copies and of ``audit.csv``.
        files: how many files were copied.
        patients: how many patients they are of.
        passed_over: how many files were left out for each reason, which is no failure.
        failures: the reason for each file that could not be copied; files are numbered by their path.
        burned_in: how many copies say that text is burned into their pixels, or are of a kind that often has it.
        faces: how many copies show the head, from which a face may be drawn.
    """

    output: Path
    files: int
    patients: int
    passed_over: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    burned_in: int = 0
    faces: int = 0

    def __str__(self) -> str:
        left_out = [f"  {count} passed over: {reason}" for reason, count in self.passed_over.items()]
        warning = "Pixels are as they were: text burned into them and faces that they show stay."
        likely = [
            f"  {count} {what}"
            for count, what in (
                (self.burned_in, "files have burned-in text, or are of a kind that often has it"),
                (self.faces, "files show the head, or all of the body"),
            )
            if count
        ]
        found = self.files + sum(self.passed_over.values()) + len(self.failures)
        done = f"wrote {self.files} of {found} files, of {self.patients} patient(s), into {self.output}"
        return "\n".join([done, *left_out, warning, *likely, "Look at the images and at audit.csv before you share."])


def deidentify(
    source: Path,
    output: Path,
    *,
    dates: Dates = "remove",
    key: Path | None = None,
    uid_map: Path | None = None,
    prefix: str = "subject",
) -> Deidentified:
    """Copy DICOM images, SEG and RT objects by the Basic Application Level Confidentiality Profile (PS3.15 annex E).

    The copies lie at ``OUT/subject-0001/<SeriesNumber>/000001.dcm``. Text in reports, documents, presentation states
    and secondary captures cannot be cleaned: they are passed over, as are a DICOMDIR and what is not DICOM.
    ``OUT/audit.csv`` has a row for each file: its place in ``find IN -type f | LC_ALL=C sort``, what was done with
    it, how many attributes were changed in which way, and no old value.

    Args:
        source: a file or folder.
        output: a new or empty folder outside of the source.
        dates: ``"remove"``, or ``"shift"``: each patient's dates move by one number of days into the past, times stay.
            Volumes of one series that only the time tells apart need ``"shift"``.
        key: a file with a secret: runs with the same key give the same UIDs and names. Without it they are random.
        uid_map: a JSON file to keep the new UIDs and names in, and to take them from in a later run. It identifies
            the patients again.
        prefix: of the patients' new names.

    Raises:
        InputError: an argument cannot be used, or no file could be copied.
    """
    _check(source, output, uid_map, prefix)
    known = None if uid_map is None else read_uid_map(uid_map)
    pseudonyms = Pseudonyms(prefix=prefix, key=None if key is None else read_key(key), known=known)
    paths = [source] if source.is_file() else _files(source)
    run = _Run(output, pseudonyms, dates)
    try:
        with silent_pydicom():
            for number, path in enumerate(_shown(paths), start=1):
                run.copy(number, path)
    finally:
        run.write_audit()
        if uid_map is not None:
            write_uid_map(uid_map, pseudonyms)
            logger.warning("%s identifies the patients again: keep it apart from %s", uid_map, output)
    done = run.result()
    logger.info("%s", done)
    return done


class _Run:
    """The files of one run."""

    def __init__(self, output: Path, pseudonyms: Pseudonyms, dates: Dates) -> None:
        self.output = output
        self.pseudonyms = pseudonyms
        self.dates = dates
        self.rows: list[dict[str, object]] = []
        self.marks: Counter[str] = Counter()
        self.patients: set[str] = set()
        self._folders: dict[tuple[str, str], str] = {}
        self._instances: defaultdict[str, int] = defaultdict(int)

    def copy(self, number: int, path: Path) -> None:
        """Copy one file, or note why not."""
        row: dict[str, object] = {"file": number, "result": "failed"}
        self.rows.append(row)
        try:
            dataset = read_whole(path)
            row["kind"] = object_kind(dataset)
            series_number, marks = whole_number(dataset, "SeriesNumber"), _marks(dataset)
            changes = deidentify_dataset(dataset, self.pseudonyms, dates=self.dates)
            target = self._target(dataset, changes, series_number)
            with whole_file(self.output / target) as temporary:
                dataset.save_as(temporary, enforce_file_format=True)
        except PassedOver as error:
            row.update(result="passed over", reason=str(error))
        except InputError as error:
            if isinstance(error.__cause__, OSError):  # the disk is full, say
                raise
            row["reason"] = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other files go on
            # pydicom's own text may quote a value of the header, so only the kind of error is shown.
            row["reason"] = f"the file cannot be read (got {type(error).__name__})"
        else:
            self.patients.add(changes.name)
            self.marks.update(marks)
            row.update({count: getattr(changes, count) for count in _COUNTS})
            row.update(result="written", new_path=target, note="; ".join(marks))

    def _target(self, dataset: Dataset, changes: Changes, series_number: int | None) -> str:
        """Return the path of a copy below the output: nothing in it is of the old names."""
        series = (changes.name, text(dataset, "SeriesInstanceUID"))
        if series not in self._folders:
            first = f"{changes.name}/{'none' if series_number is None else series_number}"
            taken, folder, more = set(self._folders.values()), first, 2
            while folder in taken:
                folder, more = f"{first}-{more}", more + 1
            self._folders[series] = folder
        folder = self._folders[series]
        self._instances[folder] += 1
        return f"{folder}/{self._instances[folder]:06d}.dcm"

    def write_audit(self) -> None:
        with (
            whole_file(self.output / "audit.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, _COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(self.rows)

    def result(self) -> Deidentified:
        written = sum(row["result"] == "written" for row in self.rows)
        failures = {f"file {row['file']}": str(row["reason"]) for row in self.rows if row["result"] == "failed"}
        if not written:
            raise InputError(
                "no file could be copied",
                where=self.output / "audit.csv",
                expected="DICOM images, SEG or RT objects",
                got=next(iter(failures.values()), f"{len(self.rows)} other files"),
            )
        return Deidentified(
            output=self.output,
            files=written,
            patients=len(self.patients),
            passed_over=dict(Counter(str(row["reason"]) for row in self.rows if row["result"] == "passed over")),
            failures=failures,
            burned_in=self.marks[_BURNED_IN],
            faces=self.marks[_FACE],
        )


_BURNED_IN, _FACE = "burned-in text is likely", "a face is likely"


def _marks(dataset: Dataset) -> list[str]:
    modality = text(dataset, "Modality")
    body_part = re.sub("[^A-Z]", "", text(dataset, "BodyPartExamined").upper())
    stated = text(dataset, "BurnedInAnnotation")
    burned_in = stated == "YES" or (stated != "NO" and modality in _TEXT_MODALITIES)
    face = modality in _FACE_MODALITIES and _FACES.search(body_part)
    return [mark for mark, likely in ((_BURNED_IN, burned_in), (_FACE, face)) if likely]


def _check(source: Path, output: Path, uid_map: Path | None, prefix: str) -> None:
    if not source.exists():
        raise InputError("no such file or folder", where=source)
    if not _PREFIX.fullmatch(prefix):
        raise InputError("the prefix cannot be used", expected="letters, digits and _", got=repr(prefix))
    whole, target = source.resolve(), output.resolve()
    if target == whole or whole in target.parents:
        raise InputError("lies in the folder to copy", where=output, cure="Give a folder outside of it")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError("is not an empty folder", where=output, cure="Give a new one")
    if uid_map is not None and target in uid_map.resolve().parents:
        raise InputError("would be shared with the copies", where=uid_map, cure=f"Give a file outside of {output}")


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _shown(paths: list[Path]) -> Iterator[Path]:
    """Show a bar on a terminal where there is much to do."""
    console = Console(stderr=True)
    hidden = len(paths) < _FEW or not (console.is_terminal and sys.stdout.isatty())
    shown: Iterable[Path] = track(paths, "files", console=console, disable=hidden)
    yield from shown

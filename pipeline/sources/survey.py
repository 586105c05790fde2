"""What lies in a folder: every file is an image, belongs to one, or is counted by its kind."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.dicom.reading.headers import read_header
from pipeline.errors import InputError
from pipeline.sources.kinds import PICTURE_KINDS, VOLUME_KINDS, describe, is_label_object, kind_of

__all__ = ["DicomFiles", "Survey", "survey"]

_UNREADABLE = "unreadable in "

_InFolders = dict[Path, dict[Path, str]]  # of a series, the SOPInstanceUID of each file by its folder

_PARTNERS = {  # of detached headers, the suffixes of their data
    ".hdr": (".img", ".img.gz"),
    ".mhd": (".raw", ".zraw"),
    ".nhdr": (".raw", ".raw.gz", ".raw.bz2", ".gz", ".bz2", ".txt"),
}


@dataclass(frozen=True, kw_only=True)
class DicomFiles:
    """DICOM slices that make one input: a series, wherever its files lie, or series that share a folder.

    Attributes:
        files: all of them, sorted.
        series: how many series they are of, as far as they can be read.
        modality: of the first.
        alone: whether the folders of the files hold no other slices, at any depth below.
    """

    files: tuple[Path, ...] = field(repr=False)
    series: int
    modality: str
    alone: bool

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the files, each once."""
        return tuple(dict.fromkeys(file.parent for file in self.files))

    @property
    def paths(self) -> tuple[Path, ...]:
        """The shortest list of paths that holds these slices and no others."""
        return self.folders if self.alone else self.files


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What lies in a folder, subfolders included; each list is sorted, and no hidden file is in any.

    Attributes:
        volumes: NIfTI, MGH, NRRD and MetaImage files.
        pictures: PNG, JPEG, TIFF and BMP files.
        slices: DICOM slices by input.
        dicom_pictures: DICOM radiographs, ultrasound and the like, each an image.
        outlines: DICOM RTSTRUCT and SEG files.
        others: how many files of each kind there are beside.
    """

    volumes: tuple[Path, ...]
    pictures: tuple[Path, ...]
    slices: tuple[DicomFiles, ...]
    dicom_pictures: tuple[Path, ...]
    outlines: tuple[Path, ...]
    others: Mapping[str, int]

    def counted(self, *, without: Collection[Path] = ()) -> str:
        """All files in words, most frequent kinds first: ``3 .txt files, 1 RT Structure Set``; "" where there is none.

        Args:
            without: files that need no mention.
        """
        single = [*self.volumes, *self.pictures, *self.dicom_pictures, *self.outlines]
        single += [file for one in self.slices for file in one.files]
        counts = Counter(describe(file) for file in single if file not in without)
        counts.update(self.others)
        return ", ".join(
            _times(count, what) for what, count in sorted(counts.items(), key=lambda item: (-item[1], item))
        )


def survey(root: Path, *, leave_out: Path | None = None) -> Survey:
    """Look at every file in a folder, subfolders and links included.

    Args:
        root: the folder, or a file.
        leave_out: a folder below that is not looked into, such as that of earlier results.
    """
    files = list(_files(root, leave_out)) if root.is_dir() else [root]
    found = _Sorted()
    partners = _partners(files)
    for file in files:
        if file not in partners:
            found.add(file)
    crowded = {folder for series in found.slices.values() for folder in series}
    for file in found.dicom_pictures:
        if file.parent in crowded:
            found.others[describe(file)] += 1
    return Survey(
        volumes=tuple(found.volumes),
        pictures=tuple(found.pictures),
        slices=tuple(_inputs(found.slices, found.modalities)),
        dicom_pictures=tuple(file for file in found.dicom_pictures if file.parent not in crowded),
        outlines=tuple(found.outlines),
        others=found.others,
    )


@dataclass
class _Sorted:
    """Files by what they are."""

    volumes: list[Path] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    dicom_pictures: list[Path] = field(default_factory=list)
    outlines: list[Path] = field(default_factory=list)
    slices: dict[str, _InFolders] = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))
    modalities: dict[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)

    def add(self, file: Path) -> None:
        kind = kind_of(file)
        if kind == "DICOM":
            self._add_dicom(file)
        elif kind in PICTURE_KINDS:
            self.pictures.append(file)
        elif kind in VOLUME_KINDS:
            self.volumes.append(file)
        else:
            self.others[describe(file)] += 1

    def _add_dicom(self, file: Path) -> None:
        try:
            header = read_header(file)
        except InputError:  # whoever reads it says, by name, what is wrong with it
            self.slices[f"{_UNREADABLE}{file.parent}"][file.parent][file] = ""
            return
        if header is None:
            if is_label_object(file):
                self.outlines.append(file)
            else:
                self.others[describe(file)] += 1
        elif header.is_picture:
            self.dicom_pictures.append(file)
        else:
            self.slices[header.series_uid][file.parent][file] = header.sop_instance_uid
            self.modalities.setdefault(header.series_uid, header.modality)


def _files(root: Path, leave_out: Path | None) -> Iterator[Path]:
    """All paths that are no folders, in order; a folder to which a link leads back is entered once."""
    seen = {os.path.realpath(root)}
    barred = None if leave_out is None else os.path.realpath(leave_out)
    for place, folders, names in os.walk(root, followlinks=True):
        kept = []
        for name in sorted(folders):
            real = os.path.realpath(os.path.join(place, name))  # noqa: PTH118 - quicker for thousands
            if not name.startswith(".") and real not in seen and real != barred:
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _partners(files: Sequence[Path]) -> set[Path]:
    """Files that hold the data of a header beside them."""
    present = set(files)
    return {
        partner
        for file in files
        for suffix in _PARTNERS.get(file.suffix.lower(), ())
        if (partner := file.with_name(file.name[: -len(file.suffix)] + suffix)) in present
    }


def _inputs(slices: Mapping[str, _InFolders], modalities: Mapping[str, str]) -> Iterator[DicomFiles]:
    """Series that share a folder stay together: which of them is meant, only the user can tell."""
    groups: list[tuple[set[Path], set[str]]] = []
    for uid, in_folders in slices.items():
        for folders in _places(in_folders):
            joined, uids = set(folders), {uid}
            for group in [one for one in groups if one[0] & joined]:
                groups.remove(group)
                joined |= group[0]
                uids |= group[1]
            groups.append((joined, uids))
    everywhere = {folder for folders, _ in groups for folder in folders}
    for folders, uids in sorted(groups, key=lambda group: min(group[0])):
        below = any(folder in other.parents for other in everywhere - folders for folder in folders)
        yield DicomFiles(
            files=tuple(sorted(file for uid in uids for folder in folders for file in slices[uid].get(folder, ()))),
            series=max(sum(not uid.startswith(_UNREADABLE) for uid in uids), 1),
            modality=next((modalities[uid] for uid in sorted(uids) if uid in modalities), ""),
            alone=not below,
        )


def _places(in_folders: _InFolders) -> list[set[Path]]:
    """The folders of one series together; each by itself where they hold copies of its instances."""
    instances = [uid for files in in_folders.values() for uid in set(files.values())]
    if len(instances) == len(set(instances)):
        return [set(in_folders)]
    return [{folder} for folder in in_folders]


def _times(count: int, what: str) -> str:
    plural = "s" if count > 1 and what.endswith(" file") else ""
    return f"{count} {what}{plural}"

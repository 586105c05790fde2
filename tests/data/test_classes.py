from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.data.classes import find_classified
from pipeline.errors import InputError

CLASSES = ["effusion", "normal", "pneumonia"]


def _images(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def _table(root: Path, *lines: str) -> Path:
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def _found(root: Path, classes: Sequence[str] = CLASSES, **arguments: bool) -> dict[str, tuple[str, object]]:
    """The path below the root and the label of each case by its name, in the order in which they came."""
    cases = find_classified(root, classes, **arguments)
    return {case["name"]: (Path(case["image"]).relative_to(root).as_posix(), case["label"]) for case in cases}


def test_each_folder_is_a_class_by_its_place_in_the_plan_not_in_the_alphabet(tmp_path: Path) -> None:
    root = _images(tmp_path, "pneumonia/b.png", "normal/b.png", "normal/a.jpeg", "effusion/x/c.tif", ".git/d.png")
    found = _found(root, ["pneumonia", "normal", "effusion"])
    assert found == {
        "effusion_x_c": ("effusion/x/c.tif", 2),
        "normal_a": ("normal/a.jpeg", 1),
        "normal_b": ("normal/b.png", 1),
        "pneumonia_b": ("pneumonia/b.png", 0),
    }
    assert list(found) == sorted(found)


def test_a_table_with_a_label_column_goes_before_folders(tmp_path: Path) -> None:
    root = _images(tmp_path, "in/two.png", "one.png", "normal/unlisted.png")
    _table(root, "patient,image,label", "7,in/two.png,pneumonia", "8,one.png,normal")
    assert _found(root) == {"in_two": ("in/two.png", 2), "one": ("one.png", 1)}


def test_a_table_that_a_spreadsheet_wrote_is_read(tmp_path: Path) -> None:
    root = _images(tmp_path, "größe.png")
    (root / "labels.csv").write_bytes("image,label\r\ngröße.png,normal\r\n".encode("utf-8-sig"))
    assert _found(root) == {"größe": ("größe.png", 1)}


def test_a_table_with_a_column_per_class_gives_the_only_class(tmp_path: Path) -> None:
    root = _images(tmp_path, "a.png", "b.png")
    _table(root, "image,pneumonia,normal,effusion", "b.png,0,1,0", "a.png,1,0,0")
    assert _found(root) == {"a": ("a.png", 2), "b": ("b.png", 1)}


def test_several_classes_may_hold_where_the_plan_is_multi_label(tmp_path: Path) -> None:
    root = _images(tmp_path, "a.png", "b.png")
    _table(root, "image,pneumonia,normal,effusion", "a.png,1,0,1", "b.png,0,0,0")
    assert _found(root, multi_label=True) == {"a": ("a.png", [1, 0, 1]), "b": ("b.png", [0, 0, 0])}


def test_cases_are_named_as_find_inputs_names_them(tmp_path: Path) -> None:
    """Dots are part of a series' name: 1.2.3 and 1.2.4 are two; .nii.gz is one suffix."""
    root = _images(tmp_path, "scan.nii.gz", "1.2.3/a.dcm", "1.2.4/a.dcm", "v1.5.png")
    _table(root, "image,label", "scan.nii.gz,normal", "1.2.3,normal", "1.2.4,effusion", "v1.5.png,normal")
    assert _found(root) == {
        "1.2.3": ("1.2.3", 1),
        "1.2.4": ("1.2.4", 0),
        "scan": ("scan.nii.gz", 1),
        "v1.5": ("v1.5.png", 1),
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image,label", "a.png,normal", "b.png,pnuemonia"],
         "line 3: unknown class pnuemonia (expected one of effusion, normal, pneumonia). Did you mean pneumonia?"),
        (["image,label", "a.png,xyz"], "line 2: unknown class xyz"),
        (["image,label", "a.png,normal", "absent.png,normal"], "labels.csv: line 3: no such image (got absent.png)"),
        (["image,label", ",normal"], "line 2: no such image"),
        (["image,label", "a.png,normal", "a.png,effusion"], "labels.csv: lists an image twice"),
        (["image,kind", "a.png,normal"], "labels.csv: lacks columns (expected image, effusion, normal, pneumonia"),
        (["file,label", "a.png,normal"], "lacks columns (expected image, label, got no image)"),
        (["image,label"], "lacks columns"),
        (["image,effusion,normal,pneumonia", "a.png,0,yes,0"],
         "line 2: column normal is not a flag (expected 0 or 1, got yes)"),
        (["image,effusion,normal,pneumonia", "a.png,0,1"], "line 2: column pneumonia is not a flag"),
        (["image,effusion,normal,pneumonia", "a.png,1,0,0", "b.png,1,1,0"],
         "line 3: does not belong to exactly one class (got 2 classes)"),
        (["image,effusion,normal,pneumonia", "a.png,0,0,0"], "does not belong to exactly one class (got 0 classes)"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_table_is_told_by_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    root = _table(_images(tmp_path, "a.png", "b.png"), *lines)
    with pytest.raises(InputError, match=re.escape(message)):
        find_classified(root, CLASSES)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "labels.csv: no table of labels (expected columns image, effusion, normal, pneumonia)"),
        (["image,label", "a.png,normal"], "(expected image, effusion, normal, pneumonia, got no effusion, "),
        (["image,effusion,normal,pneumonia", "a.png,2,0,0"], "column effusion is not a flag (expected 0 or 1, got 2)"),
    ],
)  # fmt: skip
def test_several_labels_need_a_table_with_a_column_for_each(
    tmp_path: Path, lines: list[str] | None, message: str
) -> None:
    root = _images(tmp_path, "a.png", *(f"{name}/a.png" for name in CLASSES))
    if lines is not None:
        _table(root, *lines)
    with pytest.raises(InputError, match=re.escape(message)):
        find_classified(root, CLASSES, multi_label=True)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["normal/a.png", "pneumonia/a.png"], "no folder effusion (expected a folder per class: effusion, normal"),
        (["effusion/a.png", "normal/a.png", "pneumonia/a.png", "Pneumonia_/a.png"],
         "unknown class Pneumonia_ (expected one of effusion, normal, pneumonia). Did you mean pneumonia?"),
        (["effusion/a.png", "normal/a.png", "pneumonia/a.png", "zzz/a.png"],
         "unknown class zzz (expected one of effusion, normal, pneumonia). Name it in the labels of plan.yaml"),
        (["effusion/a.png", "normal/a.png", "pneumonia/a.png", "normal/a.jpg"], "two inputs have one name"),
        (["effusion/a.png", "normal/a.png", "pneumonia/notes.txt"], "holds no image"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_folders_is_told(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        find_classified(_images(tmp_path, *names), CLASSES)


@pytest.mark.parametrize(
    ("place", "message"), [(None, "dataset_dir is not given"), ("absent", "no such file"), ("a.png", "is a file")]
)
def test_what_is_no_folder_is_refused(tmp_path: Path, place: str | None, message: str) -> None:
    _images(tmp_path, "a.png")
    with pytest.raises(InputError, match=message):
        find_classified(None if place is None else tmp_path / place, CLASSES)

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.content import content_of
from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.sources.paths import NO_IMAGE, channels_of, first_of, paths_of


@pytest.mark.parametrize("kind", [str, Path])
def test_one_path_is_one_channel_whatever_is_there(kind: type) -> None:
    assert paths_of(kind("a.nii.gz")) == (Path("a.nii.gz"),)
    assert channels_of(kind("a.nii.gz")) == ((Path("a.nii.gz"),),)


def test_a_list_is_a_channel_each_and_one_that_is_lacking_has_no_path(tmp_path: Path) -> None:
    flair, t1 = tmp_path / "flair.nii", tmp_path / "t1.nii"
    image = [NO_IMAGE, str(flair), str(t1)]
    assert channels_of(image) == ((), (flair,), (t1,))
    assert paths_of(image) == (flair, t1)
    assert first_of(image) == (flair,)


def test_folders_and_files_of_one_dicom_series_are_one_channel(tmp_path: Path) -> None:
    one = write_phantom_dicom(make_phantom(1, shape=(8, 8, 6), spacing_mm=(4, 4, 5)), tmp_path / "one")
    two = write_phantom_dicom(make_phantom(2, shape=(8, 8, 6), spacing_mm=(4, 4, 5)), tmp_path / "two")
    files = sorted(one.iterdir())
    (tmp_path / "rest").mkdir()
    moved = [file.rename(tmp_path / "rest" / file.name) for file in files[3:]]
    assert channels_of([one, two, tmp_path / "rest"]) == ((one, tmp_path / "rest"), (two,))
    assert channels_of([*files[:3], *moved, two]) == ((*files[:3], *moved), (two,))


def test_a_series_over_two_folders_has_the_content_of_the_whole(tmp_path: Path) -> None:
    whole = write_phantom_dicom(make_phantom(1, shape=(8, 8, 6), spacing_mm=(4, 4, 5)), tmp_path / "whole")
    half = tmp_path / "half"
    half.mkdir()
    content = content_of({"image": str(whole)})
    for file in sorted(whole.iterdir())[:2]:
        file.rename(half / file.name)
    assert content_of({"image": [str(whole), str(half)]}) == content
    assert content_of({"image": str(whole)}) != content

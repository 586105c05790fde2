from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.data import DataSplit
from pipeline.data.content import content_hash

CLASSES = ["large", "small", "tiny"]
COUNTS = {"large": 40, "small": 12, "tiny": 6}


def _pixels(seed: int, *channels: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (9, 7, *channels), dtype=np.uint8)


def _save(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return path


@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "colour"])
@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".PNG"])
def test_one_picture_in_two_formats_is_one_content(tmp_path: Path, suffix: str, channels: tuple[int, ...]) -> None:
    pixels = _pixels(0, *channels)
    original = content_hash(_save(tmp_path / "a.png", pixels))
    assert content_hash(_save(tmp_path / f"b{suffix}", pixels)) == original


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_a_grey_picture_and_its_copy_in_another_mode_are_one_content(tmp_path: Path, mode: str) -> None:
    grey = content_hash(_save(tmp_path / "grey.png", _pixels(1)))
    assert content_hash(_save(tmp_path / "copy.png", _pixels(1), mode)) == grey


def test_the_picture_that_jpeg_made_is_the_content_not_the_file(tmp_path: Path) -> None:
    jpeg = _save(tmp_path / "a.jpg", _pixels(2, 3))
    decoded = np.asarray(Image.open(jpeg))
    assert content_hash(_save(tmp_path / "b.png", decoded)) == content_hash(jpeg)
    assert content_hash(_save(tmp_path / "c.png", _pixels(2, 3))) != content_hash(jpeg), "JPEG changed the pixels"


def test_sixteen_bits_are_all_compared(tmp_path: Path) -> None:
    wide = _pixels(3).astype(np.uint16) * 256
    low = wide.copy()
    low[4, 4] += 1
    first = content_hash(_save(tmp_path / "a.png", wide))
    assert content_hash(_save(tmp_path / "b.tif", wide)) == first
    assert content_hash(_save(tmp_path / "c.png", low)) != first


def test_one_pixel_more_or_another_shape_is_another_content(tmp_path: Path) -> None:
    pixels, changed = _pixels(4), _pixels(4)
    changed[0, 0] ^= 1
    versions = [pixels, changed, pixels.T.copy(), pixels.reshape(7, 9), np.fliplr(pixels).copy()]
    found = {content_hash(_save(tmp_path / f"{number}.png", one)) for number, one in enumerate(versions)}
    assert len(found) == len(versions)


def test_the_header_of_a_gzipped_file_does_not_count(tmp_path: Path) -> None:
    inside = b"voxels" * 1000
    for name, time, level in (("a", 0, 1), ("b", 1_700_000_000, 9)):
        (tmp_path / f"{name}.nii.gz").write_bytes(gzip.compress(inside, compresslevel=level, mtime=time))
    assert (tmp_path / "a.nii.gz").read_bytes() != (tmp_path / "b.nii.gz").read_bytes()
    expected = hashlib.sha256(inside).hexdigest()[: len(content_hash(tmp_path / "a.nii.gz"))]
    assert [content_hash(tmp_path / f"{name}.nii.gz") for name in "ab"] == [expected] * 2
    (tmp_path / "plain.nii").write_bytes(inside)
    assert content_hash(tmp_path / "plain.nii") == expected


def test_the_names_in_a_folder_do_not_count_but_the_number_of_files_does(tmp_path: Path) -> None:
    parts = [b"one", b"two", b"three"]
    for folder, names in (("a", "xyz"), ("b", "zxy"), ("c", "xy"), ("d", "xyzw")):
        (tmp_path / folder / "below").mkdir(parents=True)
        for name, part in zip(names, [*parts, b"one"], strict=False):
            (tmp_path / folder / "below" / f"{name}.dcm").write_bytes(part)
    assert content_hash(tmp_path / "a") == content_hash(tmp_path / "b")
    assert len({content_hash(tmp_path / folder) for folder in "acd"}) == 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "nii.gz"])
def test_a_file_that_is_cut_off_anywhere_has_a_content_all_the_same(tmp_path: Path, suffix: str) -> None:
    """The reader says later, by name, what is wrong with it."""
    whole = tmp_path / f"whole.{suffix}"
    if suffix == "nii.gz":
        whole.write_bytes(gzip.compress(bytes(_pixels(5))))
    else:
        _save(whole, _pixels(5))
    content, cut = whole.read_bytes(), tmp_path / f"cut.{suffix}"
    for length in range(1, len(content), 3):
        cut.write_bytes(content[:length])
        expected = hashlib.sha256(content[:length]).hexdigest()
        assert expected.startswith(content_hash(cut)) or length > len(content) - 20


def test_a_picture_that_claims_to_be_huge_has_a_content_all_the_same(tmp_path: Path) -> None:
    bmp = bytearray(_save(tmp_path / "a.bmp", _pixels(6)).read_bytes())
    bmp[18:26] = (100_000).to_bytes(4, "little") * 2  # width and height
    (tmp_path / "huge.bmp").write_bytes(bmp)
    assert hashlib.sha256(bmp).hexdigest().startswith(content_hash(tmp_path / "huge.bmp"))


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of unequal size; the first three pictures of each are there once more, as BMP."""
    root = tmp_path_factory.mktemp("classified")
    for number, (name, count) in enumerate(COUNTS.items()):
        for case in range(count):
            pixels = _pixels(1000 * number + case)
            _save(root / name / f"p{case:02d}.png", pixels)
            if case < 3:
                _save(root / name / f"q{case:02d}_again.bmp", pixels, "RGB")
    return root


def _split(root: Path, datalist: Path, **arguments: Any) -> DataSplit:
    return DataSplit(dataset_dir=root, datalist_file=datalist, **arguments)


def _names(cases: Iterable[dict[str, Any]]) -> set[str]:
    return {case["name"] for case in cases}


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), folds=st.integers(2, 4), test_fraction=st.floats(0.05, 0.3))
def test_copies_stay_together_and_each_class_is_in_each_part(
    classified: Path, seed: int, folds: int, test_fraction: float
) -> None:
    split = _split(
        classified, classified / "no.json", classes=CLASSES, seed=seed, folds=folds, test_fraction=test_fraction
    )
    parts = [split.validation(fold) for fold in range(folds)] + [split.held_out()]
    assert sorted(case["name"] for part in parts for case in part) == sorted(case["name"] for case in split.cases)
    for part in parts:
        assert {case["label"] for case in part} == {0, 1, 2}
        for name in CLASSES:
            for case in range(3):
                pair = {f"{name}_p{case:02d}", f"{name}_q{case:02d}_again"}
                assert len(_names(part) & pair) in (0, 2)
    sizes = [sum(case["label"] == 0 for case in part) for part in parts[:-1]]
    assert max(sizes) - min(sizes) <= 6, "dealt evenly, but for the copies"


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_copy_joins_two_patients_and_all_their_cases(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    root = tmp_path_factory.mktemp("pairs")
    for patient in range(12):
        for scan in range(2):
            _save(root / "labels" / f"p{patient:02d}_{scan}.png", np.zeros((9, 7), np.uint8))
            # The second scan of patient 3 is the first one of patient 9.
            shown = (9, 0) if (patient, scan) == (3, 1) else (patient, scan)
            _save(root / "images" / f"p{patient:02d}_{scan}.png", _pixels(10 * shown[0] + shown[1]))
    split = _split(root, root / "datalist.json", seed=seed, folds=3, patient_pattern=r"^(p\d+)_")
    parts = [_names(split.validation(fold)) for fold in range(3)] + [_names(split.held_out())]
    together = {"p03_0", "p03_1", "p09_0", "p09_1"}
    assert [len(part & together) for part in parts if part & together] == [4]
    owners = [{name[:3] for name in part} for part in parts]
    assert sum(map(len, owners)) == 12, "no patient is in two parts"


def _pictures(root: Path, seeds: dict[str, int]) -> Path:
    for name, seed in seeds.items():
        _save(root / "images" / f"{name}.png", _pixels(seed))
        _save(root / "labels" / f"{name}.png", np.zeros((9, 7), np.uint8))
    return root


def _dealt(root: Path) -> DataSplit:
    split = _split(root, root / "datalist.json", folds=3)
    split.training(0)
    split.save()
    return split


def test_a_listed_name_with_another_content_is_another_case(tmp_path: Path) -> None:
    root = _pictures(tmp_path / "a", {f"c{number}": number for number in range(10)})
    split = _dealt(root)
    trained, tested = (sorted(_names(part))[0] for part in (split.training(0), split.held_out()))
    other = _pictures(tmp_path / "b", {trained: 70, tested: 71})
    again = _split(other, root / "datalist.json")
    assert _names(again.held_out()) == {trained, tested}
    assert _names(again.held_out()) == {trained, tested}, "asking twice changes nothing"


def test_other_images_under_the_names_of_the_datalist_are_dealt_anew(tmp_path: Path) -> None:
    """Or the datalist would tell of images that these weights never saw, and an evaluation would take those it did."""
    root = _pictures(tmp_path / "a", {f"c{number}": number for number in range(10)})
    _dealt(root)
    other = _pictures(tmp_path / "b", {f"c{number}": 100 + number for number in range(10)})
    split = _split(other, root / "datalist.json", folds=3, seed=5)
    trained = _names(split.training(0)) | _names(split.validation(0))
    split.save()
    assert not _names(_split(other, root / "datalist.json").held_out()) & trained

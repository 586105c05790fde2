"""Which decisions are looked at, and that maps and slices lie where a made-up network sees something."""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, EnsureTyped, LoadImaged, Orientationd, ResizeWithPadOrCropd, Spacingd
from PIL import Image

from pipeline.evaluation import ClassificationTable
from pipeline.reports.html.classification.mistakes import DrawnCase, MapDrawer, choose_decisions
from pipeline.sources import CaseReader

NAMES = {0: "dark", 1: "bright", 2: "none"}


class _Brightness(torch.nn.Module):
    """Class 1 is spoken for by what is bright, class 0 by nothing that there is."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        kind = torch.nn.Conv3d if dimensions == 3 else torch.nn.Conv2d
        self.seen = kind(1, 1, 3, padding=1, bias=False)
        torch.nn.init.constant_(self.seen.weight, 3.0**-dimensions)
        with torch.no_grad():
            self.seen.weight[(0, 0, *[1] * dimensions)] = 1.0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        mean = self.seen(image).flatten(1).mean(dim=1)
        return torch.stack([-mean, mean], dim=1)


def _pixels(address: str) -> np.ndarray:
    kind, data = address.split(",", 1)
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def _colour(drawn: DrawnCase) -> np.ndarray:
    """How far from grey the map is, of shape (height, width)."""
    return np.ptp(_pixels(drawn.mapped), axis=-1)


def _loading(dimensions: int, *more: object) -> Compose:
    reader = CaseReader(dimensions=dimensions)
    return Compose([LoadImaged(keys=["image"], reader=reader, ensure_channel_first=True), *more,
                    EnsureTyped(keys=["image"], dtype=torch.float32)])  # fmt: skip


def test_the_surest_mistakes_come_first_and_the_lost_are_left_out() -> None:
    table = ClassificationTable(NAMES)
    table.add("b", [0.6, 0.3, 0.1], 1)
    table.add("a", [0.05, 0.9, 0.05], 0)
    table.add("right", [0.99, 0.01, 0.0], 0)
    table.add("unknown", [0.0, 1.0, 0.0])
    table.add_missing({"lost": "no file"}, {"lost": 2})
    found = choose_decisions(table)
    assert [(one.name, one.number, one.confidence, one.wrong) for one in found] == [
        ("a", 1, pytest.approx(0.9), True), ("b", 0, pytest.approx(0.6), True)
    ]  # fmt: skip
    assert [one.name for one in choose_decisions(table, mistakes=1)] == ["a"]


def test_without_mistakes_the_least_confident_decisions_are_shown() -> None:
    table = ClassificationTable(NAMES)
    for n, p in enumerate((0.9, 0.5, 0.7)):
        table.add(f"c{n}", [p, 1 - p - 0.05, 0.05], 0)
    assert [(one.name, one.wrong) for one in choose_decisions(table, unsure=2)] == [("c1", False), ("c2", False)]
    assert choose_decisions(ClassificationTable(NAMES)) == []


def test_with_several_classes_the_surest_wrong_one_is_looked_at() -> None:
    table = ClassificationTable(NAMES, multi_label=True)
    table.add("missed", [0.1, 0.8, 0.3], [1, 1, 0])  # denied with confidence 0.9
    table.add("claimed", [0.9, 0.55, 0.1], [1, 0, 0])
    table.add("fine", [0.9, 0.1, 0.1], [1, 0, 0])
    assert [(one.name, one.number, one.confidence) for one in choose_decisions(table)] == [
        ("missed", 0, pytest.approx(0.9)), ("claimed", 1, pytest.approx(0.55))
    ]  # fmt: skip


def test_the_map_of_a_picture_lies_on_what_is_seen_and_the_margin_is_dimmed(tmp_path: Path) -> None:
    pixels = np.full((60, 80), 20, np.uint8)
    pixels[10:18, 50:60] = 250
    Image.fromarray(pixels).save(tmp_path / "a.png")
    crop = ResizeWithPadOrCropd(keys=["image"], spatial_size=(80, 40))  # width, height: ten rows are cut off each side
    draw = MapDrawer(network=_Brightness(2), preprocessing=_loading(2, crop))
    drawn = draw({"name": "a", "image": str(tmp_path / "a.png")}, 1)
    assert drawn is not None
    assert (drawn.width, drawn.height, drawn.words) == (240, 180, "")
    assert drawn.strongest == "strongest in the upper middle"
    plain = _pixels(drawn.plain)
    assert plain.shape == (180, 240, 3)
    assert np.abs(plain[::3, ::3, 0][4:8, 5:40] - 20).max() < 6
    assert np.abs(plain[40:44, 160:170] - 250).max() < 8
    colour = _colour(drawn)
    assert colour[36:50, 155:175].min() > 45
    assert colour[80:150, 20:120].max() < 35
    mapped = _pixels(drawn.mapped)
    assert mapped[:24].mean() == pytest.approx(10, abs=3), "dimmed to half"
    assert plain[:24].mean() == pytest.approx(20, abs=3)


def test_a_class_that_nothing_speaks_for_has_an_empty_map(tmp_path: Path) -> None:
    Image.fromarray(np.full((30, 30), 200, np.uint8)).save(tmp_path / "a.png")
    drawn = MapDrawer(network=_Brightness(2), preprocessing=_loading(2))({"name": "a", "image": tmp_path / "a.png"}, 0)
    assert drawn is not None
    assert drawn.strongest == "nothing speaks for it"
    np.testing.assert_array_equal(_pixels(drawn.mapped), _pixels(drawn.plain))


# The blob is at the patient's left, front and head in every file.
@pytest.mark.parametrize(
    ("axes", "spacing", "words", "place"),
    [
        (("R", "A", "S"), (1, 1, 1), "axial slice 6 of 24", (0.2, 0.8)),
        (("L", "P", "S"), (1, 1, 3), "axial slice 6 of 24", (0.2, 0.8)),
        (("S", "L", "A"), (1, 1, 3), "coronal slice 5 of 24", (0.2, 0.8)),
        (("P", "S", "R"), (1, 1, 3), "sagittal slice 20 of 24", (0.2, 0.2)),
    ],
)
def test_of_a_volume_the_slice_with_the_strongest_value_is_shown(
    tmp_path: Path, axes: tuple[str, ...], spacing: tuple[int, ...], words: str, place: tuple[float, float]
) -> None:
    volume = np.zeros((24, 24, 24), np.float32)  # towards the left, the back and the feet
    volume[18:21, 4:5, 5:6] = 100
    volume[19, 4, 5] = 200
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt(("L", "P", "I")), nib.orientations.axcodes2ornt(axes)
    )
    stored = nib.orientations.apply_orientation(volume, turn)
    affine = np.zeros((4, 4))
    for column, (letter, step) in enumerate(zip(axes, spacing, strict=True)):
        row = next(n for n, pair in enumerate(("LR", "PA", "IS")) if letter in pair)
        affine[row, column] = step if letter in "RAS" else -step
    affine[3, 3] = 1
    nib.save(nib.Nifti1Image(stored, affine), tmp_path / "a.nii.gz")
    more = [Orientationd(keys=["image"], axcodes="RAS", labels=None), Spacingd(keys=["image"], pixdim=(1, 1, 1))]
    draw = MapDrawer(network=_Brightness(3), preprocessing=_loading(3, *more))
    drawn = draw({"name": "a", "image": tmp_path / "a.nii.gz"}, 1)
    assert drawn is not None
    assert drawn.words == words
    for pixels in (_pixels(drawn.plain)[..., 0], _colour(drawn)):
        middle = np.argwhere(pixels > 0.7 * pixels.max()).mean(axis=0) / pixels.shape
        np.testing.assert_allclose(middle, place, atol=0.05)
    assert max(drawn.width, drawn.height) == 280


def test_pixels_of_a_slice_are_square(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).random((40, 20, 10)).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, np.diag([1.0, 4.0, 1.0, 1.0])), tmp_path / "a.nii.gz")
    drawn = MapDrawer(network=None, preprocessing=None)({"name": "a", "image": tmp_path / "a.nii.gz"}, 0)
    assert drawn is not None
    assert (drawn.mapped, drawn.strongest) == ("", "")
    assert drawn.words == "coronal slice 11 of 20", "across the thick slices, in the middle"
    assert (drawn.width, drawn.height) == (280, 70)


def test_what_cannot_be_shown_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    draw = MapDrawer(network=linear, preprocessing=_loading(2))
    with caplog.at_level(logging.WARNING):
        assert draw({"name": "broken", "image": tmp_path / "broken.png"}, 0) is None
        assert draw({"name": "gone", "image": tmp_path / "gone.png"}, 0) is None
    assert "broken: its image is not shown" in caplog.text
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    with caplog.at_level(logging.WARNING):
        drawn = draw({"name": "flat", "image": tmp_path / "a.png"}, 0)
    assert drawn is not None
    assert drawn.mapped == "", "no layer gives a map"
    assert "flat: no Grad-CAM map in the report" in caplog.text

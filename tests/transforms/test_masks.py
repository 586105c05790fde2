from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImaged
from PIL import Image

from pipeline.errors import InputError
from pipeline.sources import CaseReader
from pipeline.transforms import DecodeMaskd

RED, GREEN, DARK_RED, BLACK, WHITE = (255, 0, 0), (0, 200, 0), (128, 0, 0), (0, 0, 0), (255, 255, 255)
TABLE = {"1": [RED, DARK_RED], "2": [GREEN]}


def _mask(array: Any, source: str = "case.png") -> MetaTensor:
    return MetaTensor(torch.as_tensor(np.asarray(array, dtype=np.float32)), meta={"filename_or_obj": source, "note": 7})


def _colors(rows: list[list[tuple[int, int, int]]], source: str = "case.png") -> MetaTensor:
    return _mask(np.moveaxis(np.array(rows), -1, 0), source)


def _decode(mask: Any, values: tuple[int, ...], colors: Any = None) -> MetaTensor:
    return DecodeMaskd("label", values=values, colors=colors)({"label": mask, "name": "case"})["label"]


def _refusal(mask: Any, values: tuple[int, ...], colors: Any = None) -> str:
    with pytest.raises(InputError) as caught:
        _decode(mask, values, colors)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("stored", "values", "expected"),
    [
        ([0, 1, 1], (0, 1), [0, 1, 1]),
        ([0, 255, 0], (0, 1), [0, 1, 0]),
        ([255, 255, 255], (0, 1), [1, 1, 1]),
        ([0, 0, 0], (0, 1), [0, 0, 0]),
        ([0, 2, 1], (0, 1, 2), [0, 2, 1]),
        ([0, 255, 7], (0, 7, 255), [0, 255, 7]),
    ],
)
def test_values_of_the_plan_stay_and_255_is_the_only_label(stored: Any, values: Any, expected: Any) -> None:
    decoded = _decode(_mask([[stored]]), values)
    np.testing.assert_array_equal(decoded.numpy(), [[expected]])
    assert isinstance(decoded, MetaTensor)
    assert decoded.dtype == torch.float32
    assert (decoded.meta["filename_or_obj"], decoded.meta["note"]) == ("case.png", 7)


def test_volumes_are_decoded_alike() -> None:
    stored = np.random.default_rng(0).integers(0, 2, (1, 3, 4, 5))
    np.testing.assert_array_equal(_decode(_mask(stored * 255), (0, 1)).numpy(), stored)


@pytest.mark.parametrize(
    ("stored", "values", "message"),
    [
        ([0, 3, 3, 1], (0, 1, 2), "case.png: mask value 3 (2 pixels) is not in the plan (expected only 0, 1, 2). Corr"),
        ([0, 255, 1, 1], (0, 1, 2), "case.png: mask value 255 (1 pixel) is not in the plan (expected only 0, 1, 2)"),
        ([0, 255, 255, 128], (0, 1), "mask value 128 (1 pixel) is not in the plan (expected only 0, 1, or 0 and 255)"),
        ([0, 255, 255, 1], (0, 1), "mask value 255 (2 pixels) is not in the plan"),
        ([0, 3, 3, 4], (0, 1), "mask value 3 (2 pixels), with 1 other unknown value, is not in the plan"),
        ([0, 0.5, 1, 1], (0, 1), "mask value 0.5 (1 pixel) is not in the plan"),
        ([0, -1, 1, 1], (0, 1), "mask value -1 (1 pixel) is not in the plan"),
        ([0, np.nan, 1, 1], (0, 1), "mask value nan (1 pixel) is not in the plan"),
    ],
)
def test_another_value_is_refused_and_counted(stored: Any, values: Any, message: str) -> None:
    assert message in _refusal(_mask([[stored]]), values)


def test_blended_masks_are_told_to_be_saved_as_png(tmp_path: Path) -> None:
    assert "Save masks as PNG" in _refusal(_mask([[[0, 3, 255]]], "case.JPG"), (0, 1))
    assert "Save masks as PNG" not in _refusal(_mask([[[0, 3, 255]]]), (0, 1))
    assert "Save masks as PNG" in _refusal(_mask([[range(256)]]), (0, 1))
    # A disc, compressed with loss.
    y, x = np.mgrid[:40, :48]
    disc = np.where((x - 20) ** 2 + (y - 18) ** 2 < 150, 255, 0).astype(np.uint8)
    Image.fromarray(disc).save(tmp_path / "a.jpg", quality=60)
    load = LoadImaged("label", reader=CaseReader(label=True), ensure_channel_first=True)
    refusal = _refusal(load({"label": tmp_path / "a.jpg"})["label"], (0, 1))
    assert f"{tmp_path / 'a.jpg'}: mask value" in refusal
    assert "Save masks as PNG" in refusal
    Image.fromarray(disc).save(tmp_path / "a.png")
    decoded = _decode(load({"label": tmp_path / "a.png"})["label"], (0, 1))
    np.testing.assert_array_equal(decoded[0].numpy(), disc.T > 0)


@pytest.mark.parametrize("table", [TABLE, {**TABLE, "0": [BLACK]}, {1: [RED, DARK_RED], 2: [GREEN]}])
def test_colours_become_their_labels(table: Any) -> None:
    decoded = _decode(_colors([[RED, BLACK, GREEN], [DARK_RED, GREEN, RED]]), (0, 1, 2), table)
    np.testing.assert_array_equal(decoded.numpy(), [[[1, 0, 2], [1, 2, 1]]])
    assert decoded.dtype == torch.float32
    assert decoded.meta["note"] == 7


def test_black_may_be_a_label() -> None:
    table = {"0": [WHITE], "1": [BLACK]}
    np.testing.assert_array_equal(_decode(_colors([[BLACK, WHITE]]), (0, 1), table).numpy(), [[[1, 0]]])


def test_channels_are_not_mixed_up() -> None:
    shades = [(1, 2, 3), (3, 2, 1), (2, 3, 1), (2, 1, 3)]
    table = {str(value): [shade] for value, shade in enumerate(shades, start=1)}
    decoded = _decode(_colors([shades[::-1]]), (0, 1, 2, 3, 4), table)
    np.testing.assert_array_equal(decoded.numpy(), [[[4, 3, 2, 1]]])


def test_a_file_of_one_channel_holds_values_in_spite_of_the_table() -> None:
    np.testing.assert_array_equal(_decode(_mask([[[0, 2, 1]]]), (0, 1, 2), TABLE).numpy(), [[[0, 2, 1]]])
    np.testing.assert_array_equal(_decode(_mask([[[0, 255]]]), (0, 1), {"1": [RED]}).numpy(), [[[0, 1]]])


def test_an_unknown_colour_is_refused_by_name() -> None:
    blue, odd = (0, 0, 254), (1, 0, 0)
    refusal = _refusal(_colors([[blue, odd, blue, RED], [GREEN, BLACK, blue, WHITE]]), (0, 1, 2), TABLE)
    assert refusal.startswith("case.png: colour (0, 0, 254) (3 pixels), with 2 other unknown colours, is no label's")
    assert "(255, 0, 0) for 1; (128, 0, 0) for 1; (0, 200, 0) for 2; (0, 0, 0) for 0" in refusal
    assert "mask_colors" in refusal
    assert "Save masks as PNG" in _refusal(_colors([[odd]], "case.jpeg"), (0, 1, 2), TABLE)


@pytest.mark.parametrize("value", [0.5, -1, np.nan, 1e9])
def test_colours_that_are_no_samples_are_refused(value: float) -> None:
    mask = _colors([[RED, BLACK]])
    mask[1, 0, 0] = value
    assert "case.png: its colours are not whole numbers" in _refusal(mask, (0, 1, 2), TABLE)


def test_a_colour_of_16_bits_is_no_other_of_8_bits() -> None:
    # 65536 * 0 + 256 in 8-bit packing would be (0, 1, 0).
    assert "colour (0, 0, 256) (1 pixel) is no label's" in _refusal(
        _colors([[(0, 0, 256)]]), (0, 1), {"1": [(0, 1, 0)]}
    )


@pytest.mark.parametrize(("channels", "table"), [(3, None), (2, TABLE), (4, TABLE)])
def test_another_channel_count_is_no_mask(channels: int, table: Any) -> None:
    assert (
        f"case.png: is no mask (expected 1 channel{'' if table is None else ', or 3 of colours'}, got {channels}"
        in (_refusal(_mask(np.zeros((channels, 2, 2))), (0, 1, 2), table))
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"3": [RED]}, "label 3 has colours but is not in the plan"),
        ({"1": [RED], "2": [RED]}, "labels 1 and 2 share the colour (255, 0, 0)"),
        ({"1": [(0, 0)]}, "label 1 has a wrong colour"),
        ({"1": [(0, 0, 256)]}, "label 1 has a wrong colour"),
        ({"1": [(0, 0, 0.5)]}, "label 1 has a wrong colour"),
    ],
)
def test_a_contradictory_table_is_refused(table: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        DecodeMaskd("label", values=(0, 1, 2), colors=table)
    assert message in str(caught.value)


def test_real_masks_of_0_and_255(shared_data: Path) -> None:
    folder = shared_data / "LIDC_NoduleSlices" / "masks"
    load = LoadImaged("label", reader=CaseReader(label=True), ensure_channel_first=True)
    for path in sorted(folder.iterdir())[:60:10]:
        with Image.open(path) as mask:
            stored = np.asarray(mask)
        assert set(np.unique(stored)) == {0, 255}
        decoded = _decode(load({"label": path})["label"], (0, 1))
        np.testing.assert_array_equal(decoded[0].numpy(), stored.T // 255)


def test_a_grey_colour_mask_holds_values_unless_a_grey_has_a_meaning() -> None:
    values = np.array([[0, 1], [2, 0]])
    grey = MetaTensor(torch.as_tensor(np.stack([values] * 3)))
    colored = DecodeMaskd(["label"], values=[0, 1, 2], colors={"1": [[128, 0, 0]], "2": [[0, 128, 0]]})
    np.testing.assert_array_equal(colored({"label": grey})["label"][0], values)
    meant = DecodeMaskd(["label"], values=[0, 1, 2], colors={"1": [[2, 2, 2]], "2": [[1, 1, 1]]})
    np.testing.assert_array_equal(meant({"label": grey})["label"][0], [[0, 2], [1, 0]])

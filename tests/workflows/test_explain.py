from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import pipeline.workflows.explain as explain_workflow
from pipeline.cli import main
from pipeline.reports.heatmaps import Explanation, draw_explanation

if TYPE_CHECKING:
    from tests.workflows.conftest import Classified

ENLARGED = 8  # 48 pixels to 384


def _panels(path: Path, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The plain picture, the one under the map, and the strip."""
    with Image.open(path) as image:
        pixels = np.asarray(image).astype(int)
    return pixels[:height, :width], pixels[:height, -width:], pixels[height:]


def _explain(classified: Classified, source: Path, out: Path, *arguments: str) -> int:
    return main(["explain", str(source), "--bundle", str(classified.bundle), "-o", str(out), *arguments])


@pytest.mark.parametrize("name", ["disc", "square", "bar"])
def test_the_map_lies_on_the_object(
    classified: Classified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    maps: list[np.ndarray] = []

    def draw(heat: np.ndarray, *arguments: object, **named: object) -> None:
        maps.append(heat)
        draw_explanation(heat, *arguments, **named)

    monkeypatch.setattr(explain_workflow, "draw_explanation", draw)
    inside = classified.draw(name, 200, tmp_path / "one.png")
    assert _explain(classified, tmp_path / "one.png", tmp_path / "out") == 0
    height, width = inside.shape
    size = (width * ENLARGED, height * ENLARGED)
    plain, drawn, strip = _panels(tmp_path / "out" / "one_gradcam.png", *size)
    with Image.open(tmp_path / "one.png") as image:
        np.testing.assert_array_equal(plain[::ENLARGED, ::ENLARGED, 0], np.asarray(image))
    heat = maps[0].T
    assert heat.shape == inside.shape
    near = np.zeros_like(inside)  # within two pixels of the object: the network's grid is coarser
    for down in range(-2, 3):
        for right in range(-2, 3):
            near |= np.roll(inside, (down, right), (0, 1))
    assert near.reshape(-1)[heat.argmax()]
    strong = heat > 0.6
    assert near[strong].mean() > 0.9, f"by chance {near.mean():.2f}"
    changed = np.ptp(drawn, axis=-1)[ENLARGED // 2 :: ENLARGED, ENLARGED // 2 :: ENLARGED]  # how far from grey
    assert changed[strong].min() > 40
    assert changed[heat == 0].max() <= 40, "only the interpolation reaches here"
    assert strip.min() < 60
    assert strip.max() > 200, "a caption"


def test_the_margin_that_the_network_does_not_see_is_dimmed(classified: Classified, tmp_path: Path) -> None:
    inside = classified.draw("disc", 200, tmp_path / "one.png")
    Image.fromarray(np.full(inside.shape, 100, np.uint8)).save(tmp_path / "blank.png")
    assert _explain(classified, tmp_path / "blank.png", tmp_path / "out") == 0
    plain, drawn, _ = _panels(tmp_path / "out" / "blank_gradcam.png", 48 * ENLARGED, 36 * ENLARGED)
    assert (plain == 100).all()
    # 36 of 40 pixels are seen: 2.4 of 48 and 1.8 of 36 are cut off at each side.
    assert (drawn[:ENLARGED, :] == 50).all()
    assert (drawn[:, : 2 * ENLARGED] == 50).all()
    assert (drawn[:, -2 * ENLARGED :] == 50).all()
    assert (drawn[4 * ENLARGED : -4 * ENLARGED, 4 * ENLARGED : -4 * ENLARGED] != 50).any(axis=-1).all()


def test_a_batch_outlives_a_truncated_picture(
    classified: Classified, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classified.draw("disc", 200, tmp_path / "in" / "a.png")
    classified.draw("bar", 200, tmp_path / "in" / "c.png")
    (tmp_path / "in" / "b.png").write_bytes((tmp_path / "in" / "a.png").read_bytes()[:200])
    assert _explain(classified, tmp_path / "in", tmp_path / "out") == 3
    said = capsys.readouterr()
    assert "a: disc" in said.out
    assert "explained 2 of 3 case(s)" in said.out
    head, line = said.err.splitlines()
    assert head == "medbundle: 1 of 3 cases failed:"
    assert "b.png: cannot be read" in line
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_gradcam.png", "c_gradcam.png"]


def test_a_class_and_a_layer_can_be_chosen(
    classified: Classified, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classified.draw("disc", 200, tmp_path / "one.png")
    pictures = []
    for number, arguments in enumerate(([], ["--class", "disc"], ["--class", "bar"], ["--layer", "features.1"])):
        assert _explain(classified, tmp_path / "one.png", tmp_path / str(number), *arguments) == 0
        pictures.append((tmp_path / str(number) / "one_gradcam.png").read_bytes())
    assert pictures[0] == pictures[1], "the predicted class is the default"
    assert len(set(pictures)) == 3
    said = capsys.readouterr().out
    assert "one: bar 0." in said
    assert "layer features.4" in said
    assert "layer features.1" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--class", "sqare"], "sqare: the bundle has no such class. Did you mean square?"),
        (["--class", "7"], "Known: disc, square, bar"),
        (["--layer", "feature.4"], "feature.4: the network has no such layer. Did you mean features.4?"),
        (["--layer", "classifier.0"], "classifier.0: the layer gives no map"),
    ],
)
def test_a_wrong_class_or_layer_is_refused(
    classified: Classified,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    classified.draw("disc", 200, tmp_path / "one.png")
    assert _explain(classified, tmp_path / "one.png", tmp_path / "out", *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_an_input_is_never_replaced(classified: Classified, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "a_gradcam"):
        classified.draw("disc", 200, tmp_path / f"{name}.png")
    before = (tmp_path / "a_gradcam.png").read_bytes()
    assert _explain(classified, tmp_path, tmp_path) == 3
    assert "would replace an input" in capsys.readouterr().err
    assert (tmp_path / "a_gradcam.png").read_bytes() == before


def test_colour_deep_and_narrow_pictures_are_drawn(tmp_path: Path) -> None:
    said = Explanation("a class with quite a long name that does not fit", 0.25, "another", 0.75)
    color = np.zeros((40, 30, 3), np.uint8)
    color[..., 0] = 200
    Image.fromarray(color).save(tmp_path / "color.png")
    draw_explanation(np.zeros((30, 40), np.float32), tmp_path / "a.png", picture=tmp_path / "color.png", explained=said)
    with Image.open(tmp_path / "a.png") as image:
        assert image.getpixel((image.width - 100, 100)) == (200, 0, 0), "where the map is 0 the picture is as it was"
    ramp = np.linspace(0, 65535, 400 * 8).reshape(400, 8).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    draw_explanation(np.ones((8, 400), np.float32), tmp_path / "b.png", picture=tmp_path / "deep.png", explained=said)
    with Image.open(tmp_path / "b.png") as image:
        column = np.asarray(image.convert("L"))[:400, image.width // 2 - 5].astype(int)
    assert column[0] == 0
    assert column[-1] == 255
    assert (np.diff(column) >= 0).all()

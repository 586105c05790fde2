"""The page of an evaluation in a real browser: what a person sees, and does with mouse and keys."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reports.chromium import Chromium, find_chromium
from reports.contrast import GROUND, luminance, text_contrasts

from pipeline.evaluation import ScoreTable
from pipeline.reports.html import ViewedCase, write_report

SHAPE = (24, 30, 16)
MARKER = (slice(4, 8), slice(22, 26), slice(11, 14))  # left, anterior and superior, of voxels that run L, A and S
AFFINE = np.array([[-2.0, 0, 0, 10], [0, 2, 0, -20], [0, 0, 2, 100], [0, 0, 0, 1]])
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
NEEDED = "document.getElementById('viewer').dataset.shown === '{}'"


def _program() -> str:
    found = find_chromium()
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no Chromium")
        pytest.skip("there is no Chromium")
    return found


def _case(name: str, prediction: np.ndarray, reference: np.ndarray, image: np.ndarray | None) -> ViewedCase:
    affine = AFFINE if reference.ndim == 3 else None
    return ViewedCase(name=name, prediction=prediction, reference=reference, image=image, affine=affine, kind="worst")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve cases with ever better predictions; one with an image, one without, one picture."""
    folder = tmp_path_factory.mktemp("report")
    table, viewed = ScoreTable({1: "Cube", 2: "Bar"}), []
    image = np.full(SHAPE, 100, np.int16)
    image[20:, :4, :3] = 0
    image[-1 - MARKER[0].stop : -1 - MARKER[0].start, MARKER[1], MARKER[2]] = 1000  # x runs to the left
    image[image == 100] += np.random.default_rng(0).integers(-50, 50, (image == 100).sum()).astype(np.int16)
    for n in range(12):
        reference = np.zeros(SHAPE, np.uint8)
        reference[8:16, 10:20, 4:12], reference[4:6, 4:8, 4:12] = 1, 2
        prediction = reference.copy()
        prediction[8 : 8 + (11 - n) // 2, 10:20, 4 : 12 - n // 3] = 0
        if n == 5:
            prediction[prediction == 2] = 0
        name = HOSTILE if n == 3 else f"case{n}"
        table.add(name, prediction, reference, patient=name, spacing_mm=(2, 2, 2))
        if n in (0, 3):
            viewed.append(_case(name, prediction, reference, image if n == 0 else None))
    table.add_missing({"lost": "no file"})
    flat = np.zeros((40, 30), np.uint8)
    flat[30:36, 4:8] = 1
    viewed.append(_case("case7", np.roll(flat, 1, 0), flat, flat.astype(np.float32) * 3))
    table.write(folder)
    return write_report(folder, cases=viewed)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    program = _program()
    chromium = Chromium(program, tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


@pytest.fixture
def page(browser: Chromium, report: Path):
    """The page in a window of 1400 x 1000, with the first case open; nothing may have gone wrong at the end."""
    browser.prefer("light")
    browser.size(1400, 1000)
    browser.open(report.as_uri())
    browser.wait(NEEDED.format(0))
    browser.frame()
    yield browser
    assert browser.complaints() == []
    assert browser.requests() == [report.as_uri()]
    assert browser.js("window.hacked === undefined")


def _look(page: Chromium, plane: str) -> np.ndarray:
    """The pixels of a canvas, of shape (height, width, 3)."""
    data, width, height = page.js(
        f"(() => {{ const c = document.querySelector('[data-plane={plane}] canvas');"
        "const s2 = new OffscreenCanvas(c.width, c.height).getContext('2d', {willReadFrequently: true});"
        "s2.drawImage(c, 0, 0); const d = s2.getImageData(0, 0, c.width, c.height).data;"
        "let s = ''; for (let i = 0; i < d.length; i += 1) if (i % 4 < 3) s += String.fromCharCode(d[i]);"
        "return [btoa(s), c.width, c.height]; })()"
    )
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 3).astype(int)


def _coloured(pixels: np.ndarray) -> dict[str, int]:
    red, _, blue = np.moveaxis(pixels, -1, 0)
    return {"reference": int((blue > red + 60).sum()), "prediction": int((red > blue + 60).sum())}


def _set(page: Chromium, element: str, value: object, event: str = "input") -> None:
    key = "checked" if isinstance(value, bool) else "value"
    page.js(f"(() => {{ const e = document.getElementById('{element}'); e.{key} = {json.dumps(value)};"
            f"e.dispatchEvent(new Event('{event}', {{bubbles: true}})); }})()")  # fmt: skip
    page.frame()


def _middle(page: Chromium, selector: str) -> tuple[float, float]:
    page.js(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
    page.frame()
    box = page.js(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def _index(page: Chromium, plane: str) -> int:
    said = page.js(f"document.querySelector('[data-plane={plane}] output').textContent")
    slider = page.js(f"document.querySelector('[data-plane={plane}] input').value")
    assert said.split(" / ")[0] == slider
    assert f"{plane} slice {slider} of" in page.js(f"document.querySelector('[data-plane={plane}] canvas').ariaLabel")
    return int(slider)


def _column(page: Chromium, number: int) -> list[str]:
    return page.js(
        "[...document.querySelectorAll('#t-table tbody tr')].filter(r => !r.hidden)"
        f".map(r => r.cells[{number}].textContent)"
    )


# The volume is 24 voxels wide, 30 deep and 16 high, so that 30 fill a canvas. The marker's middle is 17 voxels from the
# patient's right side, 6 from the front and 3.5 from the top.
@pytest.mark.parametrize(
    ("plane", "x", "y", "letters"),
    [
        ("axial", 3 + 17, 6, "RLAP"),
        ("coronal", 3 + 17, 7 + 3.5, "RLSI"),
        ("sagittal", 6, 7 + 3.5, "APSI"),
    ],
)
def test_what_is_left_anterior_and_superior_is_seen_there(
    page: Chromium, plane: str, x: float, y: float, letters: str
) -> None:
    for name in ("reference", "prediction", "cross"):
        _set(page, f"v-{name}", value=False)
    for name, value in (("window", 255), ("level", 128)):  # all that is stored
        _set(page, f"v-{name}", value)
    seen = []
    for index in range(1, 31):
        page.js(f"(() => {{ const s = document.querySelector('[data-plane={plane}] input'); s.value = {index};"
                "s.dispatchEvent(new Event('input')); })()")  # fmt: skip
        page.frame()
        seen.append(_look(page, plane)[..., 0] > 200)
    brightest = max(seen, key=np.count_nonzero)
    assert 2 < sum(one.any() for one in seen) < 15
    middle = (np.argwhere(brightest).mean(axis=0) + 0.5) / brightest.shape * 30
    np.testing.assert_allclose(middle, [y, x], atol=0.3)
    boxes = page.js(f"[...document.querySelectorAll('[data-plane={plane}] .letter')].map(s => {{"
                    "const a = s.getBoundingClientRect(), b = s.parentElement.getBoundingClientRect();"
                    "return [s.textContent, (a.x + a.width / 2 - b.x) / b.width,"
                    "(a.y + a.height / 2 - b.y) / b.height]})")  # fmt: skip
    places = {letter: (round(x), round(y)) for letter, x, y in boxes if abs(x - 0.5) > 0.3 or abs(y - 0.5) > 0.3}
    assert [letter for letter, _, _ in boxes] == list(letters)
    assert places[letters[0]][0] == 0
    assert places[letters[1]][0] == 1
    assert places[letters[2]][1] == 0
    assert places[letters[3]][1] == 1


def test_the_wheel_the_keys_and_the_sliders_change_the_slice(page: Chromium) -> None:
    x, y = _middle(page, "[data-plane=axial] canvas")
    start, others = _index(page, "axial"), [_index(page, name) for name in ("coronal", "sagittal")]
    before, scrolled = _look(page, "axial"), page.js("scrollY")
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=120)
    page.frame()
    page.wait(f"document.querySelector('[data-plane=axial] input').value === '{start + 1}'")
    assert (_look(page, "axial") != before).any()
    assert page.js("scrollY") == scrolled
    page.js("document.querySelector('[data-plane=axial] canvas').focus()")
    for key, expected in (
        ("ArrowUp", start),
        ("ArrowDown", start + 1),
        ("Home", 1),
        ("PageDown", 11),
        ("ArrowLeft", 10),
    ):
        page.key(key)
        assert _index(page, "axial") == expected
    page.key("End")
    assert f"{_index(page, 'axial')}" == page.js("document.querySelector('[data-plane=axial] input').max")
    assert [_index(page, name) for name in ("coronal", "sagittal")] == others


def test_outlines_are_switched_by_boxes_and_keys_and_fade(page: Chromium) -> None:
    _set(page, "v-cross", value=False)
    both = _coloured(_look(page, "axial"))
    assert both["reference"] > 200
    assert both["prediction"] > 100
    _set(page, "v-reference", value=False)
    assert _coloured(_look(page, "axial"))["reference"] == 0
    assert _coloured(_look(page, "axial"))["prediction"] >= both["prediction"]
    page.js("document.querySelector('[data-plane=axial] canvas').focus()")
    page.key("p")
    assert _coloured(_look(page, "axial")) == {"reference": 0, "prediction": 0}
    page.key("r")
    page.key("p")
    assert _coloured(_look(page, "axial")) == both
    _set(page, "v-outline", value="0")
    assert _coloured(_look(page, "axial")) == {"reference": 0, "prediction": 0}
    _set(page, "v-fill", value="100")
    assert _coloured(_look(page, "axial"))["reference"] > both["reference"]
    _set(page, "v-label", value="2")
    bar = _coloured(_look(page, "axial"))
    _set(page, "v-label", value="1")
    assert 0 < sum(bar.values()) < sum(_coloured(_look(page, "axial")).values())


def test_a_click_moves_the_crosshair_and_a_drag_the_window(page: Chromium) -> None:
    x, y = _middle(page, "[data-plane=axial] canvas")
    page.click(x, y)
    assert _index(page, "sagittal") == pytest.approx(SHAPE[0] / 2, abs=1.01)
    assert _index(page, "coronal") == pytest.approx(SHAPE[1] / 2, abs=1.01)
    said = page.js("document.getElementById('v-at').textContent")
    assert "reference: Cube" in said
    before, window, level = (page.js("document.getElementById('v-wl').textContent"), *_window(page))
    pixels = _look(page, "coronal")
    page.mouse("mousePressed", x, y, button="left", clickCount=1)
    page.mouse("mouseMoved", x + 60, y - 25, button="left", buttons=1)
    page.mouse("mouseReleased", x + 60, y - 25, button="left", clickCount=1)
    page.frame()
    assert (_window(page)[0] - window, _window(page)[1] - level) == (60, 25)
    assert page.js("document.getElementById('v-wl').textContent") != before
    assert (_look(page, "coronal") != pixels).any()
    assert page.js("document.getElementById('v-at').textContent") == said, "a drag is no click"
    page.js("document.getElementById('v-reset').click()")
    assert _window(page) == (window, level)


def _window(page: Chromium) -> tuple[int, int]:
    return tuple(int(page.js(f"document.getElementById('v-{name}').value")) for name in ("window", "level"))


def test_other_cases_are_opened_from_the_list_and_the_table(page: Chromium) -> None:
    page.js("document.querySelectorAll('.picker button')[1].click()")
    page.wait(NEEDED.format(1))
    assert page.js("document.getElementById('v-name').textContent") == HOSTILE
    assert "no image" in page.js("document.getElementById('v-state').textContent")
    pixels = _look(page, "axial")
    assert min(_coloured(pixels).values()) > 0
    grey = (np.ptp(pixels, axis=-1) < 5) & (pixels[..., 0] > 10)
    assert grey.sum() < 2 * pixels.shape[0] + 2 * pixels.shape[1], "nothing but the crosshair is grey"
    x, y = _middle(page, "#t-table tbody button[data-viewer='2']")
    page.click(x, y)
    page.wait(NEEDED.format(2))
    planes = "[...document.querySelectorAll('.plane')].map(p => getComputedStyle(p).display !== 'none')"
    assert page.js(planes) == [True, False, False]
    pixels = _look(page, "axial")
    assert (np.argwhere(_blue(pixels)).mean(axis=0) / pixels.shape[:2]).tolist() == pytest.approx(
        [0.22, 0.82], abs=0.08
    )
    numbers = page.js("[...document.querySelectorAll('#v-numbers tbody tr')].map(r => r.cells[1].textContent)")
    row = page.js("[...document.querySelectorAll('#t-table tbody tr')].find(r => r.cells[0].textContent === 'case7')"
                  ".cells[1].textContent")  # fmt: skip
    assert np.mean([float(n) for n in numbers]) == pytest.approx(float(row), abs=1e-3)


def _blue(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 2] > pixels[..., 0] + 60


def test_the_table_is_sorted_filtered_and_shown_by_label(page: Chromium) -> None:
    dice = [float(text) for text in _column(page, 1)]
    assert dice == sorted(dice)
    assert _column(page, 0)[0] == "lost"
    x, y = _middle(page, "#t-table [data-sort='0']")
    page.click(x, y)
    assert [float(text) for text in _column(page, 1)] == dice[::-1]
    assert page.js("document.querySelector('#t-table [data-sort=\"0\"]').parentElement.ariaSort") == "descending"
    assert page.js("document.querySelectorAll('#t-table th[aria-sort=none]').length") > 5
    titles = page.js("[...document.querySelectorAll('#t-table thead th')].map(h => h.textContent.trim())")
    distance = titles.index("HD95 mm")
    page.js(f"document.querySelectorAll('#t-table thead th')[{distance}].firstElementChild.click()")
    values = [{"∞": np.inf}.get(text) or float(text) for text in _column(page, distance)]
    assert values == sorted(values, reverse=True), "large distances are the worst"
    assert values[0] == np.inf
    page.js("document.querySelector('#t-table [data-sort=name]').click()")
    assert _column(page, 0)[1:5] == ["case0", "case1", "case2", "case4"]
    assert _column(page, 0)[-2:] == ["case11", "lost"]
    _set(page, "t-find", "CASE1")
    assert _column(page, 0) == ["case1", "case10", "case11"]
    assert page.js("document.getElementById('t-count').textContent") == "3 of 13 cases"
    _set(page, "t-find", "no file")
    assert _column(page, 0) == ["lost"]
    _set(page, "t-find", "")
    _set(page, "t-view", "2", "change")
    assert {_column(page, 0)[k]: text for k, text in enumerate(_column(page, 1)) if text != "1.000"} == {
        "case5": "0.000",
        "lost": "0.000",
    }
    _set(page, "t-below", "0.5")
    assert _column(page, 0) == ["case5", "lost"]
    hidden = "[...document.querySelectorAll('#t-table th.more')].map(h => getComputedStyle(h).display === 'none')"
    assert set(page.js(hidden)) == {True}
    _set(page, "t-more", value=True, event="change")
    assert set(page.js(hidden)) == {False}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa(page: Chromium, scheme: str) -> None:
    page.prefer(scheme)
    found = text_contrasts(page)
    assert len(found) > 300
    assert {key: ratio for key, ratio in found if ratio < 4.5} == {}
    assert (luminance(page.js(GROUND)) < 0.05) == (scheme == "dark")


def test_the_theme_is_the_systems_until_the_button_is_pressed(page: Chromium) -> None:
    light = page.js(GROUND)
    x, y = _middle(page, "#theme")
    page.click(x, y)
    dark = page.js(GROUND)
    assert luminance(dark) < 0.05 < luminance(light)
    page.click(x, y)
    assert page.js(GROUND) == light
    page.js("delete document.documentElement.dataset.theme")
    page.prefer("dark")
    assert page.js(GROUND) == dark


def test_a_screen_reader_finds_a_name_for_everything(page: Chromium) -> None:
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "checkbox", "slider", "combobox", "searchbox", "spinbutton", "link", "image", "region", "table",
             "navigation", "Canvas", "img")  # fmt: skip
    found = [(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if not node["ignored"]]
    named = [(role, name) for role, name in found if role in roles]
    assert {role for role, _ in named} >= {"button", "checkbox", "slider", "combobox", "table", "image"}
    assert [role for role, name in named if not name] == []
    assert [name for role, name in found if role == "heading"][:2] == ["Segmentation evaluation", "Summary"]


@pytest.mark.parametrize(("width", "height"), [(1400, 1000), (390, 844)])
def test_the_page_fits_wide_and_narrow_windows(page: Chromium, width: int, height: int, tmp_path: Path) -> None:
    page.size(width, height, mobile=width < 500)
    page.frame()
    assert page.js("document.documentElement.scrollWidth") <= width
    with Image.open(page.picture(tmp_path / "page.png")) as picture:
        assert picture.size == (width, height)
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 30
    box = page.js("document.querySelector('[data-plane=axial] canvas').getBoundingClientRect().toJSON()")
    assert box["width"] > 200


def test_the_methods_are_selected_to_be_copied(page: Chromium) -> None:
    x, y = _middle(page, "#copy")
    page.click(x, y)
    page.wait("document.getElementById('copied').textContent !== ''")
    assert page.js("getSelection().toString()").startswith("Segmentations of 13 cases")

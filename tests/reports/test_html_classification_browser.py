"""The page of a classification in a real browser: what a person sees, and does with mouse and keys."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reports.chromium import Chromium, find_chromium
from reports.contrast import GROUND, luminance, text_contrasts
from reports.scored_pages import HOSTILE, scored_page


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scored_page(tmp_path_factory.mktemp("classes"))[0]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    program = find_chromium()
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no Chromium")
        pytest.skip("there is no Chromium")
    chromium = Chromium(program, tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


@pytest.fixture
def page(browser: Chromium, scored):
    """The page in a window of 1400 x 1000; nothing may have gone wrong at the end."""
    browser.prefer("light")
    browser.size(1400, 1000)
    browser.open(scored.as_uri())
    browser.frame()
    yield browser
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith("data:")] == [scored.as_uri()]
    assert browser.js("window.hacked === undefined")


def _column(page: Chromium, number: int) -> list[str]:
    return page.js(
        "[...document.querySelectorAll('#t-table tbody tr')].filter(r => !r.hidden)"
        f".map(r => r.cells[{number}].textContent)"
    )


def _set(page: Chromium, element: str, value: str, event: str = "input") -> None:
    page.js(f"(() => {{ const e = document.getElementById('{element}'); e.value = {json.dumps(value)};"
            f"e.dispatchEvent(new Event('{event}', {{bubbles: true}})); }})()")  # fmt: skip
    page.frame()


def test_figures_are_there_and_drawn(page: Chromium) -> None:
    assert page.js("document.querySelectorAll('svg.plot').length") == 3 + 3 + 4
    assert page.js("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    box = page.js("document.querySelector('svg .band').getBoundingClientRect().toJSON()")
    assert box["width"] > 100
    fill = page.js("getComputedStyle(document.querySelector('svg .band')).fill")
    accent = "getComputedStyle(document.querySelector('nav a')).color"
    assert fill == page.js(accent), "the colours of the page"


def test_the_table_has_the_worst_first_and_is_sorted_and_filtered(page: Chromium) -> None:
    assert _column(page, 0)[:2] == ["lost", HOSTILE]
    assert _column(page, 0)[-1] == "unknown", "nothing is known of it"
    values = [float(text) for text in _column(page, 3)[:-1]]
    assert values == sorted(values)
    page.js("document.querySelector('#t-table [data-sort=\"0\"]').click()")
    words = _column(page, 1)
    assert words == sorted(words)
    assert page.js("document.querySelector('#t-table [data-sort=\"0\"]').parentElement.ariaSort") == "ascending"
    page.js("document.querySelector('#t-table [data-sort=\"4\"]').click()")
    numbers = [float(text) for text in _column(page, 5) if text != "–"]  # noqa: RUF001 - the page's dash
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 61
    assert _column(page, 0)[-1] == "lost"
    _set(page, "t-kind", "mistakes", "change")
    assert all(a != b for a, b in zip(_column(page, 1), _column(page, 2), strict=True))
    shown = page.js("document.getElementById('t-count').textContent")
    assert shown == f"{len(_column(page, 0))} of 62 cases"
    _set(page, "t-find", "case1")
    assert _column(page, 0)
    assert all(name.startswith("case1") for name in _column(page, 0))
    _set(page, "t-find", "")
    _set(page, "t-kind", "", "change")
    _set(page, "t-below", "0.1")
    assert all(float(text) < 0.1 for text in _column(page, 3))
    _set(page, "t-find", "bacterial")
    assert set(_column(page, 0)) == {"lost", HOSTILE}


def test_a_case_leads_to_its_picture(page: Chromium) -> None:
    page.js("document.querySelector('#t-table tbody a').click()")
    page.wait("document.querySelector('figure:target') !== null")
    assert page.js("document.querySelector('figure:target h3').textContent") == HOSTILE


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa(page: Chromium, scheme: str) -> None:
    page.prefer(scheme)
    ratios = dict(text_contrasts(page))
    assert len({ground for _, _, ground in ratios}) > 6, "the cells of the confusion matrix are among them"
    assert {key: ratio for key, ratio in ratios.items() if ratio < 4.5} == {}
    assert (luminance(page.js(GROUND)) < 0.05) == (scheme == "dark")


def test_a_screen_reader_finds_a_name_for_everything(page: Chromium) -> None:
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "combobox", "searchbox", "spinbutton", "link", "image", "region", "table", "navigation", "img")
    found = [(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if not node["ignored"]]
    named = [(role, name) for role, name in found if role in roles]
    assert {role for role, _ in named} >= {"button", "combobox", "table", "image", "link"}
    assert [role for role, name in named if not name] == []
    levels = page.js("[...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert max(np.diff(levels)) == 1, "no level is left out"


@pytest.mark.parametrize(("width", "height"), [(1400, 1000), (390, 844)])
def test_the_page_fits_wide_and_narrow_windows(page: Chromium, width: int, height: int, tmp_path: Path) -> None:
    page.size(width, height, mobile=width < 500)
    page.frame()
    assert page.js("document.documentElement.scrollWidth") <= width
    with Image.open(page.picture(tmp_path / "page.png")) as picture:
        assert picture.size == (width, height)
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 30

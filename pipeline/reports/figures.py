"""Pictures of a classifier's results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics import calibration_bins, expected_calibration_error
from pipeline.patches.plain_text import plain_text
from pipeline.writing import whole_file

__all__ = ["Picture", "draw_confusion", "draw_contact_sheet"]

_BAR, _PALE, _TRACK, _RED, _GREY, _INK = "#9cc3e6", "#d6e4f1", "#f1f3f5", "#c8362f", "#8a8f98", "#20242b"
_DARK_FROM = 0.72  # share from which a cell is dark enough for white letters
_NO_PREDICTION = "(none)"
_CELL, _MAX_MATRIX = 0.72, 14.0  # inches
_DPI = 130

_MAX_PICTURES = 24
_MAX_COLUMNS = 6
_MAX_BARS = 3
_MAX_NAME = 26
_TILE = 320  # pixels
_PERCENTILES = (0.5, 99.5)
_PLAIN_MODES = ("L", "RGB")
_DEEP_MODES = ("I", "F")


@dataclass(frozen=True)
class Picture:
    """A picture and what was predicted for it.

    Attributes:
        name: the case.
        file: PNG, JPEG, TIFF or BMP, of 8 or 16 bits.
        probabilities: by class.
        predicted: the predicted classes.
        reference: the true class or classes, or None where that is not known.
        right: whether the prediction is right, or None where that is not known.
    """

    name: str
    file: Path
    probabilities: Mapping[str, float]
    predicted: Sequence[str] = ()
    reference: str | None = None
    right: bool | None = None


@plain_text()
def draw_confusion(
    matrix: npt.NDArray[np.int64],
    classes: Sequence[str],
    path: Path,
    title: str,
    *,
    calibration: tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]] | None = None,
) -> None:
    """Draw a confusion matrix and, beside it, the reliability diagram (Guo et al. 2017).

    Args:
        matrix: counts of shape (K, K), reference by predicted class, or (K, K + 1) with a last column for cases
            without a prediction (drawn if there are any), or (K, 2, 2) with one matrix per class.
        classes: the K names.
        path: the PNG.
        title: stands above the matrix.
        calibration: confidence and correctness of the decisions, each of shape (N,).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts, columns = _cells(np.asarray(matrix), classes)
    cell = min(_CELL, _MAX_MATRIX / max(len(columns), len(classes)))
    width = 1.0 + 0.09 * max(map(len, classes)) + 1.2 * cell * max(len(columns), 3)
    height = max(4.2, 1.9 + cell * len(classes))
    with_bins = calibration is not None and len(calibration[0]) > 0
    figure = Figure(figsize=(width + (4.4 if with_bins else 0), height), layout="constrained", dpi=_DPI)
    panels: Any = figure.subfigures(1, 2, width_ratios=[width, 4.4], wspace=0.04) if with_bins else [figure]
    _draw_matrix(panels[0].subplots(), counts, classes, columns, title, letters=cell / _CELL)
    if with_bins and calibration is not None:
        _draw_reliability(panels[1], *calibration)
    with whole_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))


@plain_text()
def draw_contact_sheet(pictures: Iterable[Picture], path: Path, *, title: str | None = None) -> bool:
    """Draw the first pictures in a grid, each with its most probable classes; wrong ones have a red frame.

    Args:
        pictures: of any sizes; volumes and unreadable files are passed over.
        path: the PNG; at most 24 pictures are on it.
        title: stands above the pictures.

    Returns:
        Whether there was anything to draw; no file is written otherwise.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    read = ((picture, _tile(picture.file)) for picture in pictures)
    shown = list(islice(((picture, tile) for picture, tile in read if tile is not None), _MAX_PICTURES))
    if not shown:
        return False
    columns = min(_MAX_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(2.3 * columns + 0.2, 3.15 * rows + 0.2 + (0.4 if title else 0)), dpi=_DPI)
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)
    if title:
        figure.suptitle(title, fontsize=11, color=_INK)
    cells = figure.add_gridspec(rows, columns)
    for place, (picture, tile) in enumerate(shown):
        inner = cells[place // columns, place % columns].subgridspec(2, 1, height_ratios=[3, 1], hspace=0)
        _draw_tile(figure.add_subplot(inner[0]), tile, wrong=picture.right is False)
        _draw_bars(figure.add_subplot(inner[1]), picture)
    with whole_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))
    return True


def _cells(matrix: npt.NDArray[np.int64], classes: Sequence[str]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """The drawn columns of counts, and their names."""
    if matrix.ndim == 3:  # noqa: PLR2004 - one 2 x 2 matrix per class
        return matrix[:, [1, 1, 0, 0], [1, 0, 0, 1]], [
            "present:\nfound",
            "present:\nmissed",
            "absent:\nleft out",
            "absent:\nclaimed",
        ]
    if matrix.shape[1] > len(classes) and not matrix[:, -1].any():
        return matrix[:, :-1], list(classes)
    return matrix, [*classes, _NO_PREDICTION][: matrix.shape[1]]


def _shares(counts: npt.NDArray[np.int64], pairs: bool) -> npt.NDArray[np.float64]:
    """Each cell as a share of its row, or of its half of the row."""
    parts = counts.reshape(len(counts), -1, 2) if pairs else counts[:, None]
    whole = np.maximum(parts.sum(axis=2, keepdims=True), 1)
    shares: npt.NDArray[np.float64] = (parts / whole).reshape(counts.shape)
    return shares


def _draw_matrix(
    axes: Any,
    counts: npt.NDArray[np.int64],
    classes: Sequence[str],
    columns: Sequence[str],
    title: str,
    *,
    letters: float,
) -> None:
    pairs = "\n" in columns[0]
    shares = _shares(counts, pairs)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > _DARK_FROM else _INK
        axes.text(
            column, row, f"{count}", ha="center", va="bottom", color=ink, fontsize=11 * letters, fontweight="bold"
        )
        axes.text(
            column, row + 0.06, f"{shares[row, column]:.0%}", ha="center", va="top", color=ink, fontsize=8.5 * letters
        )
    turned = sum(map(len, columns)) > 9 * len(columns) and not pairs
    axes.set_xticks(range(len(columns)), columns, rotation=30 if turned else 0, ha="right" if turned else "center")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(classes) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("class" if pairs else "reference")
    axes.set_xlabel("reference: predicted" if pairs else "predicted (share of the reference's row)")
    axes.set_title(title, fontsize=12, color=_INK, pad=10)


def _draw_reliability(panel: Any, confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_]) -> None:
    counts, means, accuracies = calibration_bins(confidence, correct)
    edges = np.linspace(0, 1, len(counts) + 1)
    style = {"x": edges[:-1], "width": np.diff(edges), "align": "edge", "edgecolor": "white"}
    top, bottom = panel.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    top.bar(height=np.nan_to_num(accuracies), color=_BAR, label="accuracy", **style)
    top.hlines(means, edges[:-1], edges[1:], color=_RED, linewidth=2.5, label="mean confidence")
    top.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1)
    top.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    error = expected_calibration_error(confidence, correct)
    top.set_title(f"reliability (calibration error {error:.3f})", fontsize=12, color=_INK, pad=10)
    top.legend(loc="upper left", fontsize=8.5, frameon=False)
    bottom.bar(height=counts / max(counts.sum(), 1), color=_GREY, **style)
    bottom.set(xlabel="confidence", ylabel="share")
    for axes in (top, bottom):
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)


def _draw_tile(axes: Any, tile: npt.NDArray[np.uint8], *, wrong: bool) -> None:
    axes.imshow(tile, cmap="gray", vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=_RED if wrong else _PALE, linewidth=4 if wrong else 1)


def _draw_bars(axes: Any, picture: Picture) -> None:
    wrong = picture.right is False
    axes.text(0, 1.05, _short(picture.name), fontsize=8, color=_INK, fontweight="bold", va="center")
    if wrong:
        axes.text(0, 0.1, f"is {_short(picture.reference or 'none')}", fontsize=8, color=_RED, va="center")
    first = 1 if wrong else 0
    likely = sorted(picture.probabilities.items(), key=lambda item: -item[1])[:_MAX_BARS]
    for row, (label, probability) in enumerate(likely, start=first):
        chosen = label in picture.predicted
        axes.barh(-row, 1, height=0.82, color=_TRACK)
        axes.barh(-row, probability, height=0.82, color=_BAR if chosen else _PALE)
        weight = "bold" if chosen else "normal"
        axes.text(0.02, -row, _short(label), fontsize=7.5, va="center", color=_INK, fontweight=weight)
        axes.text(0.98, -row, f"{probability:.2f}", fontsize=7.5, va="center", ha="right", color=_INK)
    axes.set(xlim=(0, 1), ylim=(-_MAX_BARS - 0.5, 1.6))
    axes.axis("off")


def _short(text: str) -> str:
    half = _MAX_NAME // 2
    return text if len(text) <= _MAX_NAME else f"{text[: half - 1]}…{text[-half:]}"


def _tile(file: Path) -> npt.NDArray[np.uint8] | None:
    """A picture within a square of black, grey or RGB; None for what is no single picture."""
    from PIL import Image

    try:
        with Image.open(file) as opened:
            if getattr(opened, "n_frames", 1) > 1:
                return None
            picture = _eight_bits(opened)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    scale = _TILE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    square = Image.new(picture.mode, (_TILE, _TILE))
    corner = ((_TILE - size[0]) // 2, (_TILE - size[1]) // 2)
    square.paste(picture.resize(size, Image.Resampling.LANCZOS), corner)
    return np.asarray(square, dtype=np.uint8)


def _eight_bits(picture: Any) -> Any:
    from PIL import Image

    if picture.mode.startswith(_DEEP_MODES):
        values = np.asarray(picture, dtype=np.float64)
        low, high = np.percentile(values[np.isfinite(values)], _PERCENTILES)
        scaled = np.nan_to_num((values - low) / max(high - low, 1e-12)).clip(0, 1)
        return Image.fromarray((scaled * 255).round().astype(np.uint8))
    if picture.mode in _PLAIN_MODES:
        return picture.copy()
    return picture.convert("L" if picture.mode in ("1", "LA") else "RGB")

"""The table of predicted quality that a segmentation writes beside its masks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.inferers import Inferer

from pipeline.evaluation.provenance import provenance
from pipeline.evaluation.quality import FILE, PredictedQuality, read_calibration
from pipeline.evaluation.tables import write_csv
from pipeline.inferers.quality import IMAGE_FEATURES, LABEL_FEATURES, QualityInferer
from pipeline.sources.given import given_path

__all__ = ["QualityTable"]

logger = logging.getLogger(__name__)


class QualityTable:
    """Predicted Dice of each case and label, where there is a calibration beside the weights; else nothing at all.

    Args:
        weights: the file of the weights; the calibration is ``quality.json`` in its folder.
        folder: gets ``quality.csv``.

    Raises:
        InputError: the calibration cannot be read, or is of other weights.
    """

    def __init__(self, *, weights: str | Path, folder: str | Path) -> None:
        self.folder = given_path(folder).absolute()
        self.cases: dict[str, PredictedQuality] = {}
        file = Path(weights).with_name(FILE)
        self.calibration = None
        if file.is_file():
            sha256 = provenance(weights=weights)["weights_sha256"]
            self.calibration = read_calibration(
                file, weights_sha256=sha256, label_features=LABEL_FEATURES, image_features=IMAGE_FEATURES
            )

    def watching(self, inferer: Inferer) -> Inferer:
        """The inferer to use: one that tells what a prediction needs, or without a calibration the same."""
        return inferer if self.calibration is None else QualityInferer(inferer)

    def add(self, name: str, meta: Mapping[str, Any]) -> None:
        """Predict a case from the metadata of its label map; a case outside of the calibrated range is logged."""
        if self.calibration is None:
            return
        found = self.calibration.predict(np.asarray(meta["quality_labels"]), np.asarray(meta["quality_image"]))
        self.cases[name] = found
        if found.outside:
            logger.warning("%s: %s", name, _reason(found))

    def write(self, failures: Mapping[str, str] | None = None) -> Path | None:
        """Write ``quality.csv``: a row for each case, with its flag and why it was flagged.

        Args:
            failures: cases that failed, perhaps after they were predicted, with the reason; their rows say so.

        Returns:
            The file; None where there is no calibration.

        Raises:
            InputError: it cannot be written.
        """
        if self.calibration is None:
            return None
        names = [label.name for label in self.calibration.labels.values()]
        header = [f"{name} {what}" for name in names for what in ("predicted_dice", "lower", "upper")]
        cells = {case: _cells(found, names) for case, found in self.cases.items()}
        cells |= {case: [*[""] * len(header), "failed", reason] for case, reason in (failures or {}).items()}
        rows = [["case", *header, "flag", "reason"], *([case, *cells[case]] for case in sorted(cells))]
        return write_csv(self.folder / "quality.csv", rows)


def _cells(found: PredictedQuality, names: Sequence[str]) -> list[Any]:
    values = [round(one[name], 4) for name in names for one in (found.dice, found.low, found.high)]
    return [*values, "outside" if found.outside else "", _reason(found)]


def _reason(found: PredictedQuality) -> str:
    return f"outside the calibrated range: {', '.join(found.outside)}" if found.outside else ""

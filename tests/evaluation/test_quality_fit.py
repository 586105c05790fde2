from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.metrics import mean_absolute_error, roc_auc_score

from pipeline.errors import InputError
from pipeline.evaluation.boosting import BoostedTrees, fit_trees
from pipeline.evaluation.quality import Calibration, read_calibration
from pipeline.evaluation.quality_fit import KnownCase, figures, fit_calibration

_OF_LABEL, _OF_IMAGE = ("sure", "size", "noise_like"), ("grain",)
_ABOUT = {"label_features": _OF_LABEL, "image_features": _OF_IMAGE}


def test_a_tree_is_read_as_it_is_written() -> None:
    trees = BoostedTrees(1.0, ((0, 2.0, 1, 0.5, 1, 3.0, 10, 20, 30, 40), (1, 0, 0, 0, 0, 0, 1, 1, 2, 2)))
    rows = [[2.0, 0.5], [2.0, 0.6], [2.1, 3.0], [2.1, 3.1], [0.0, -1.0]]
    assert trees.predict(rows).tolist() == [1 + 10 + 2, 1 + 20 + 2, 1 + 30 + 2, 1 + 40 + 2, 1 + 10 + 1]
    assert BoostedTrees.from_json(json.loads(json.dumps(trees.to_json()))) == trees


def test_the_trees_are_as_good_as_scikit_learn_s() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(1200, 6))
    y = np.sin(x[:, 0]) + 0.5 * (x[:, 1] > 0.3) * x[:, 2] + 0.1 * generator.normal(size=1200)
    other = GradientBoostingRegressor(
        n_estimators=300, max_depth=2, learning_rate=0.05, subsample=0.5, max_features=0.4, min_samples_leaf=8,
        loss="huber", random_state=0,
    ).fit(x[:800], y[:800])  # fmt: skip
    theirs = mean_absolute_error(y[800:], other.predict(x[800:]))
    ours = mean_absolute_error(y[800:], fit_trees(x[:800], y[:800], seed=0).predict(x[800:]))
    assert ours < 1.1 * theirs < 0.5 * np.abs(y[800:]).mean()


def _cases(seed: int, patients: int = 30) -> list[KnownCase]:
    """Dice that follows from a feature, but for an error that is larger where it is low."""
    generator, cases = np.random.default_rng(seed), list[KnownCase]()
    for patient in range(patients):
        for kind in ("none", "noise 1", "noise 2"):
            sure = generator.uniform(0, 1, 2)
            error = generator.normal(size=2) * (0.02 + 0.1 * (1 - sure))
            cases.append(
                KnownCase(
                    patient=f"{seed}-{patient}",
                    degradation=kind,
                    of_labels=np.stack([sure, generator.normal(size=2), generator.normal(size=2)], axis=1),
                    of_image=generator.normal(size=1),
                    dice=np.clip(0.3 + 0.6 * sure + error, 0, 1),
                )
            )
    return cases


@pytest.fixture(scope="module")
def made() -> Calibration:
    return fit_calibration(_cases(0), labels={1: "head", 2: "tail"}, **_ABOUT)


def test_the_figures_hold_for_new_patients(made: Calibration) -> None:
    cases = _cases(1, patients=200)
    scored = {}
    for index, label in enumerate(made.labels.values()):
        rows = np.stack(
            [np.concatenate([case.of_labels[index], case.of_labels[1 - index], case.of_image]) for case in cases]
        )
        scored[label.name] = (np.array([case.dice[index] for case in cases]), *label.predict(rows))
    new, promised = figures(scored, [case.degradation for case in cases])["all"], made.about["figures"]["all"]
    assert new["coverage"] == pytest.approx(0.9, abs=0.06)
    assert promised["coverage"] == pytest.approx(0.9, abs=0.06)
    assert new["mae"] == pytest.approx(promised["mae"], abs=0.015)
    dice, told = (np.concatenate([one[k] for one in scored.values()]) for k in (0, 1))
    assert new["mae"] == pytest.approx(mean_absolute_error(dice, told), abs=1e-4)
    assert new["auroc"] == pytest.approx(roc_auc_score(dice < 0.8, -told), abs=1e-4)
    assert new["low"] == (dice < 0.8).sum()
    sure, unsure = ([0.95, 0, 0, 0.5, 0, 0, 0], [0.05, 0, 0, 0.5, 0, 0, 0])
    half = [made.labels[1].predict(np.array([row]))[1][0] for row in (sure, unsure)]
    assert half[0] < 0.7 * half[1], "the error is three times as large there"


def test_a_prediction_has_its_interval_and_the_unusual_is_flagged(made: Calibration) -> None:
    usual = made.predict([[0.9, 0, 0], [0.1, 0, 0]], [0])
    assert usual.outside == ()
    assert usual.dice["head"] == pytest.approx(0.3 + 0.6 * 0.9, abs=0.1)
    assert usual.dice["tail"] == pytest.approx(0.3 + 0.6 * 0.1, abs=0.1)
    for name in ("head", "tail"):
        assert 0 <= usual.low[name] < usual.dice[name] < usual.high[name] <= 1
    strange = made.predict([[0.9, 9, 0], [0.1, 0, 0]], [-9])
    assert strange.outside == ("grain", "size of head")
    assert (strange.low["tail"], strange.high["tail"]) == (0, 1)


def test_nothing_can_be_predicted_from_nothing() -> None:
    """Features without a message: the interval must still cover, by being wide."""
    generator = np.random.default_rng(0)
    cases = [
        KnownCase(str(n), "none", generator.normal(size=(1, 3)), generator.normal(size=1), generator.uniform(size=1))
        for n in range(120)
    ]
    found = fit_calibration(cases, labels={1: "head"}, **_ABOUT).about["figures"]["all"]
    assert found["mae"] > 0.2
    assert found["auroc"] == pytest.approx(0.5, abs=0.15)
    assert found["coverage"] == pytest.approx(0.9, abs=0.06)


def test_it_is_read_back_and_refused_for_other_weights(made: Calibration, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"weights").hexdigest()
    made.about["weights_sha256"] = sha256
    path = made.write(tmp_path / "quality.json")
    assert path.stat().st_size < 100_000
    again = read_calibration(path, weights_sha256=sha256, **_ABOUT)
    case = _cases(2)[0]
    assert again.predict(case.of_labels, case.of_image) == made.predict(case.of_labels, case.of_image)
    with pytest.raises(InputError, match="of other weights") as caught:
        read_calibration(path, weights_sha256=hashlib.sha256(b"others").hexdigest(), **_ABOUT)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="is no calibration that can be used"):
        read_calibration(path, weights_sha256=sha256, label_features=("sure", "size"), image_features=_OF_IMAGE)
    for text in ("{", "[]", '{"weights_sha256": "' + sha256 + '"}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"(calibration|mapping|JSON).*Run: medbundle calibrate"):
            read_calibration(path, weights_sha256=sha256, **_ABOUT)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(InputError, match=r"too few patients .*at least 10, got 9"):
        fit_calibration(_cases(0, patients=9), labels={1: "head", 2: "tail"}, **_ABOUT)

"""A training set in which a label does not occur is refused before the first epoch."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from ignite.engine import Engine
from monai.data import CacheDataset

from pipeline.data import fill_batch
from pipeline.errors import InputError
from pipeline.handlers import CheckTrainingSet

LABELS = {"1": "nerve", "2": "vessel"}


def _run(labels, names=LABELS):
    """Train for one batch; the batches that were reached."""
    seen = []
    engine = Engine(lambda engine, batch: seen.append(batch))
    dataset = CacheDataset([{"label": label} for label in labels], transform=[], progress=False)
    CheckTrainingSet(dataset=dataset, labels=names).attach(engine)
    try:
        engine.run([0], max_epochs=1)
    except InputError:
        assert not seen, "a batch was computed before the refusal"
        raise
    return seen


def _map(*values):
    array = np.zeros((1, 4, 4), np.float32)
    array.flat[: len(values)] = values
    return array


def test_masks_that_are_all_empty():
    with pytest.raises(InputError, match=r"no label occurs in any of the 3 training cases.*expected 1 nerve, 2 vessel"):
        _run([_map()] * 3)


def test_a_label_that_is_nowhere():
    with pytest.raises(InputError, match="label 2 vessel occurs in none of the 2 training cases"):
        _run([_map(1), _map()])


def test_how_often_labels_occur_is_said(caplog):
    with caplog.at_level(logging.INFO):
        _run([_map(1, 2), _map(1), _map()])
    assert "of 3 training cases show: nerve in 2, vessel in 1" in caplog.text


@pytest.mark.parametrize("labels", [[0, 1, 1], [np.array(0), np.array(1)]])
def test_classes(labels):
    _run(labels, {"0": "a", "1": "b"})
    with pytest.raises(InputError, match="label 2 c occurs in none"):
        _run(labels, {"0": "a", "1": "b", "2": "c"})


def test_flags_of_several_classes():
    _run([np.array([1, 0, 0]), np.array([0, 1, 1])], {"0": "a", "1": "b", "2": "c"})
    with pytest.raises(InputError, match="label 1 b occurs in none"):
        _run([np.array([1, 0, 0]), np.array([0, 0, 1])], {"0": "a", "1": "b", "2": "c"})


def test_a_repeated_case_counts_once(caplog):
    case = {"label": _map(1, 2)}
    dataset = CacheDataset(fill_batch([case], batch_size=4), transform=[], progress=False)
    engine = Engine(lambda engine, batch: None)
    CheckTrainingSet(dataset=dataset, labels=LABELS).attach(engine)
    with caplog.at_level(logging.INFO):
        engine.run([0], max_epochs=1)
    assert "of 1 training cases show: nerve in 1, vessel in 1" in caplog.text


def test_a_batch_is_filled():
    assert fill_batch(["a", "b", "c"], batch_size=4) == ["a", "b", "c", "a"]
    assert fill_batch(["a"], batch_size=2) == ["a", "a"]
    assert fill_batch([*"abcde"], batch_size=4) == [*"abcde"]

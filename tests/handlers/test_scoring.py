from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, MetaTensor
from monai.inferers import SimpleInferer
from monai.transforms import Activationsd

from pipeline.data import CaseFailures, SurvivingCases
from pipeline.evaluation import ClassificationTable, ScoreTable
from pipeline.handlers import CaseEvaluator, ScoreCases, ScoreClasses

LOGITS = {"a": [2.0, 0.0, 1.0], "b": [0.0, 5.0, 0.0], "c": [0.0, 0.0, 0.0]}


def _network(batch: torch.Tensor) -> torch.Tensor:
    if batch.max() > 50:
        raise MemoryError("too large")
    return batch


def _run(table: ClassificationTable, cases: list[dict[str, Any]], *, sigmoid: bool = False) -> CaseFailures:
    failures = CaseFailures()

    def load(case: dict[str, Any]) -> dict[str, Any]:
        return {**case, "image": torch.tensor(LOGITS.get(case["name"], [99.0, 0.0, 0.0]))}

    evaluator = CaseEvaluator(
        failures=failures,
        device=torch.device("cpu"),
        val_data_loader=DataLoader(SurvivingCases(data=cases, transform=load, failures=failures), batch_size=1),
        network=_network,
        inferer=SimpleInferer(),
        postprocessing=Activationsd("pred", softmax=not sigmoid, sigmoid=sigmoid),
        val_handlers=[ScoreClasses(table=table)],
    )
    evaluator.run()
    return failures


def test_cases_reach_the_table_through_monai_and_a_failed_one_does_not() -> None:
    table = ClassificationTable({0: "x", 1: "y", 2: "z"})
    failures = _run(table, [{"name": n, "label": torch.tensor(i), "patient": f"p{n}"} for i, n in enumerate("adb")])
    assert sorted(table.cases) == ["a", "b"]
    assert list(failures.reasons) == ["d"]
    for name, truth in (("a", "x"), ("b", "z")):
        powers = np.exp(LOGITS[name])
        np.testing.assert_allclose(table.cases[name].probabilities, powers / powers.sum(), rtol=1e-5)
        assert table.reference(name) == truth
        assert table.cases[name].patient == f"p{name}"


def test_labels_and_patients_are_optional() -> None:
    table = ClassificationTable({0: "x", 1: "y", 2: "z"})
    _run(table, [{"name": "a"}, {"name": "b"}])
    assert [table.reference(name) for name in "ab"] == [None, None]
    assert table.counts()["patients"] == 2
    assert table.predicted("b") == "y"


def test_several_labels_per_case() -> None:
    table = ClassificationTable({0: "x", 1: "y", 2: "z"}, multi_label=True)
    _run(table, [{"name": "a", "label": torch.tensor([1, 0, 1])}, {"name": "c"}], sigmoid=True)
    assert table.reference("a") == "x; z"
    np.testing.assert_allclose(table.cases["a"].probabilities, 1 / (1 + np.exp(-np.array(LOGITS["a"]))), rtol=1e-5)


@pytest.mark.parametrize(
    "label", [torch.tensor(2), torch.tensor([2]), MetaTensor([2]), torch.tensor([2.0]), 2, np.int64(2)]
)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_forms_of_a_class_number(label: Any, kind: torch.dtype) -> None:
    table = ClassificationTable({0: "x", 1: "y", 2: "z"})
    engine = Engine(lambda engine, batch: None)
    engine.state.batch = [{"name": "a", "patient": ""}]
    engine.state.output = [{"pred": torch.tensor([0.25, 0.5, 0.25], dtype=kind), "label": label}]
    ScoreClasses(table=table)(engine)
    assert (table.predicted("a"), table.reference("a"), table.cases["a"].patient) == ("y", "z", None)


def test_no_label_as_none() -> None:
    table = ClassificationTable({0: "x", 1: "y"})
    engine = Engine(lambda engine, batch: None)
    engine.state.batch = [{"name": "a"}]
    engine.state.output = [{"pred": torch.tensor([0.25, 0.75]), "label": None}]
    ScoreClasses(table=table)(engine)
    assert table.reference("a") is None


def _scored(shape: tuple[int, ...], affine: np.ndarray, source: str) -> dict[str, np.ndarray]:
    reference = np.zeros(shape)
    reference[(slice(2, 5),) * len(shape)] = 1
    meta = {"affine": torch.as_tensor(affine), "filename_or_obj": source}
    label = MetaTensor(torch.as_tensor(reference[None]), meta=meta)
    engine = Engine(lambda engine, batch: None)
    engine.state.batch = [{"name": "a", "patient": "p"}]
    engine.state.output = [{"pred": torch.as_tensor(np.roll(reference, 1, axis=1)[None]), "label": label}]
    table = ScoreTable({1: "cube"})
    ScoreCases(table=table)(engine)
    assert table.patients == {"a": "p"}
    assert table.cases["a"].tolist() == [2 / 3]
    return dict(table.measures().values)


def test_the_spacing_of_the_reference_gives_mm() -> None:
    turned = np.array([[0, -2.5, 0, 7], [0.5, 0, 0, 8], [0, 0, 4, 9], [0, 0, 0, 1]])  # the second axis is 2.5 mm
    values = _scored((7, 8, 9), turned, "a.nii.gz")
    assert values["hausdorff_mm"].item() == pytest.approx(2.5)
    assert values["reference_volume_ml"].item() == pytest.approx(27 * 2.5 * 0.5 * 4 / 1000)


def test_a_slice_has_mm_and_a_picture_pixels() -> None:
    values = _scored((7, 8), np.diag([0.5, 2.5, 4, 1]), "slice.nii.gz")
    assert values["hausdorff_mm"].item() == pytest.approx(2.5)
    assert values["reference_area_mm2"].item() == pytest.approx(9 * 0.5 * 2.5)
    values = _scored((7, 8), np.eye(4), "A.PNG")
    assert (values["hausdorff_pixel"].item(), values["reference_area_pixel"].item()) == (1, 9)
    assert not [name for name in values if "mm" in name]

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml
from monai.bundle import ConfigParser

from pipeline.bundle import build_bundle
from pipeline.evaluation import ScoreTable, provenance


def _evaluation(bundle: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / f"{name}.json") for name in ("train", "evaluate")])
    return parser


def test_a_label_has_the_tolerance_of_the_plan_or_1_mm(bundle: Path) -> None:
    plan = yaml.safe_load((bundle / "plan.yaml").read_text())
    plan["labels"][1]["tolerance_mm"] = 2.5
    (bundle / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(bundle)
    table = _evaluation(bundle).get_parsed_content("scores")
    assert isinstance(table, ScoreTable)
    assert table.tolerance_mm == {1: 1.0, 2: 2.5}


def test_the_report_is_told_what_is_scored(whole_bundle: Path) -> None:
    parser = _evaluation(whole_bundle)
    parser["bundle_root"] = str(whole_bundle)
    report = parser["run"][1]
    facts = provenance(**{key: parser.get_parsed_content(report[key][1:]) for key in ("bundle", "weights", "datalist")})
    weights = whole_bundle / "models" / "model.pt"
    assert facts["bundle"] == whole_bundle.name
    assert facts["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert facts["datalist"] is None, "nothing was trained"

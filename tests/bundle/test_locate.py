from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from monai.bundle import ConfigWorkflow

from pipeline.bundle import find_bundle, open_workflow, running_bundle_root
from pipeline.errors import InputError

SHIPPED = Path(__file__).parents[2] / "bundles"


def test_a_bundle_is_found_by_its_path(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_bundle(bundle) == bundle
    assert find_bundle(str(bundle)) == bundle
    monkeypatch.chdir(bundle.parent)
    assert find_bundle(bundle.name) == bundle
    monkeypatch.chdir(bundle)
    assert find_bundle(".") == bundle


def test_a_plan_alone_or_configs_alone_make_a_bundle(bundle: Path) -> None:
    (bundle / "plan.yaml").rename(bundle.parent / "plan.yaml")
    assert find_bundle(bundle) == bundle
    assert find_bundle(bundle.parent) == bundle.parent


def test_a_shipped_bundle_is_found_by_its_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_bundle("hippocampus_mr_segmentation") == SHIPPED / "hippocampus_mr_segmentation"


def test_the_nearest_name_is_suggested(tmp_path: Path) -> None:
    suggestion = r"Did you mean hippocampus_mr_segmentation\?$"
    with pytest.raises(InputError, match=rf"^hippocampus_mr_segmentatoin: no such bundle .*{suggestion}"):
        find_bundle("hippocampus_mr_segmentatoin")
    with pytest.raises(InputError, match=r"no such bundle .*Known: .*hippocampus_mr_segmentation"):
        find_bundle("xyz")
    (tmp_path / "hippocampus_mr").mkdir()
    with pytest.raises(InputError, match=rf"hippocampus_mr: is not a bundle .*{suggestion}"):
        find_bundle(tmp_path / "hippocampus_mr")


class Workflow(ConfigWorkflow):
    """MONAI evaluates a config inside its workflow, as here."""

    def root(self) -> str:
        return str(self.parser.get_parsed_content("bundle_root"))


@pytest.mark.parametrize("name", ["bundle", "a bundle with  spaces", "bündel'"])
def test_a_running_config_knows_its_bundle_from_any_working_directory(
    bundle: Path, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moved = bundle.rename(bundle.parent / name)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for config in (moved / "configs" / "inference.json", Path("..") / name / "configs" / "inference.json"):
        workflow = Workflow(config_file=str(config), logging_file=False, workflow_type="infer")
        assert workflow.root() == str(moved)


def test_overlaid_configs_belong_to_the_bundle_of_the_first(bundle: Path) -> None:
    files = [str(bundle / "configs" / f"{name}.json") for name in ("train", "evaluate")]
    assert Workflow(config_file=files, logging_file=False, workflow_type="train").root() == str(bundle)


def test_two_running_workflows_know_each_their_own_bundle(bundle: Path) -> None:
    other = Path(shutil.copytree(bundle, bundle.with_name("other_ct_segmentation")))
    workflows = [
        Workflow(config_file=str(one / "configs" / "inference.json"), logging_file=False, workflow_type="infer")
        for one in (bundle, other)
    ]
    assert [workflow.root() for workflow in workflows] == [str(bundle), str(other)]


def test_outside_of_a_workflow_the_working_directory_is_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert running_bundle_root() == str(tmp_path)


def test_an_opened_workflow_without_a_config_is_refused(bundle: Path) -> None:
    with pytest.raises(
        InputError, match=r"deploy\.json: no such config\. Run: medbundle build phantom_ct_segmentation"
    ):
        open_workflow(bundle, ["deploy"])


def test_plain_monai_run_from_another_working_directory(bundle: Path, tmp_path: Path) -> None:
    config = bundle / "configs" / "inference.json"
    content = json.loads(config.read_text())
    content["initialize"], content["finalize"] = [], []
    content["run"] = ["$print('root', @bundle_root, @weights)"]
    config.write_text(json.dumps(content))
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "--config_file", str(config)]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=120, check=True)
    assert f"root {bundle} {bundle}/models/model.pt" in done.stdout

"""What the architecture promises, held by reading the code and the built configs."""

from __future__ import annotations

import importlib
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ComponentLocator

from pipeline.workflows.segment import _limited

ROOT = Path(__file__).parents[1]
_CONFIGS = sorted(ROOT.glob("bundles/*/configs/*.json"))
# What a built config may name: rooms up to bundle, and the two that an evaluation ends with.
_ABOVE = {"cli", "services", "workflows"}


def _targets(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        if "_target_" in content:
            yield str(content["_target_"])
        content = list(content.values())
    for value in content if isinstance(content, list) else ():
        yield from _targets(value)


@pytest.fixture(scope="module")
def monais() -> ComponentLocator:
    return ComponentLocator()


def _is_public(target: str, monais: ComponentLocator) -> bool:
    room, _, name = target.rpartition(".")
    if not room:
        return bool(monais.get_component_module_name(target))
    if not target.startswith("pipeline."):
        return room.split(".")[0] in {"monai", "torch", "ignite"}
    face = importlib.import_module(room)
    return hasattr(face, "__path__") and name in face.__all__ and room.split(".")[1] not in _ABOVE


@pytest.mark.parametrize("file", _CONFIGS, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_each_target_of_a_config_is_a_public_name_of_a_room_s_face(file: Path, monais: ComponentLocator) -> None:
    targets = {*_targets(json.loads(file.read_text(encoding="utf-8")))}
    assert not [target for target in targets if not _is_public(target, monais)]
    assert targets or file.stem == "metadata"


def test_what_a_command_lays_over_a_config_is_public_as_well(monais: ComponentLocator) -> None:
    targets = {*_targets(_limited(1.0, untilt=False))}
    assert targets
    assert not [target for target in targets if not _is_public(target, monais)]
    assert not _is_public("pipeline.data.ahead.FitsAhead", monais)
    assert not _is_public("pipeline.workflows.segment.segment", monais)


def test_the_picture_of_the_rooms_is_that_of_today_s_imports() -> None:
    drawing = runpy.run_path(str(ROOT / "docs" / "draw_rooms.py"))
    assert {("cli", "workflows"), ("data", "sources"), ("sources", "dicom")} <= drawing["arrows"]()
    told = drawing["draw"]() == drawing["PICTURE"].read_text(encoding="utf-8")
    assert told, "the rooms import others now: python docs/draw_rooms.py"
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert not [room for room in drawing["rooms"]() if f"`{room}`" not in page]

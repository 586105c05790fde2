"""What the architecture promises, held by reading the code and the built configs."""

from __future__ import annotations

import ast
import importlib
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ComponentLocator

from pipeline.sources.kinds import IMAGE_SUFFIXES
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


# Who writes files chooses their suffixes, and is asked for one by the name of an output.
_WRITERS = {
    "bundle/configs/tasks.py",
    "bundle/verify.py",
    "data/phantoms.py",
    "inferers/probabilities.py",
    "transforms/saving.py",
    "workflows/convert.py",
    "workflows/deidentify.py",
    "workflows/demo.py",
}
_MAGIC = (b"\x89PNG", b"\xff\xd8", b"II*", b"MM\0*", b"BM", b"\x1f\x8b", b"DICM", b"n+1", b"ni1", b"NRRD")
_SOP_CLASS = "1.2.840.10008.5.1.4."


def _asks_what_a_path_is(code: str) -> list[str]:
    """Literals by which a kind of image would be told: its suffix, its first bytes, or DICOM's class of objects."""
    suffixes = {*IMAGE_SUFFIXES, ".img", ".dcm", ".dicom", ".ima"}
    found = []
    for node in ast.walk(ast.parse(code)):
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and (value.lower() in suffixes or value.startswith(_SOP_CLASS)):
            found.append(value)
        if isinstance(value, bytes) and value.startswith(_MAGIC):
            found.append(repr(value))
    return found


def test_nobody_but_sources_and_dicom_asks_what_a_path_is() -> None:
    package = ROOT / "pipeline"
    found = {}
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package).as_posix()
        if not name.startswith(("sources/", "dicom/")) and name not in _WRITERS:
            found[name] = _asks_what_a_path_is(file.read_text(encoding="utf-8"))
    assert not {name: literals for name, literals in found.items() if literals}
    assert _asks_what_a_path_is("path.suffix in ('.nii', '.png')") == [".nii", ".png"]
    assert _asks_what_a_path_is("head[:2] == b'BM'")

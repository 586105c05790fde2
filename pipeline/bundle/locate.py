"""Where a bundle is."""

from __future__ import annotations

import difflib
from pathlib import Path

from pipeline.errors import InputError
from pipeline.patches.running_workflow import running_workflow
from pipeline.sources.given import exists, given_path

__all__ = ["find_bundle", "running_bundle_root"]

_PACKAGE = Path(__file__).resolve().parent.parent
# Beside the package in a checkout, inside it when installed.
_SHIPPED = (_PACKAGE.parent / "bundles", _PACKAGE / "bundles")


def running_bundle_root() -> str:
    """The folder of the bundle whose config is being evaluated; the working directory outside of a workflow."""
    workflow = running_workflow()
    if workflow is None:
        return str(Path.cwd())
    folder = Path(workflow.config_root_path).resolve()
    return str(folder.parent if folder.name == "configs" else folder)


def find_bundle(bundle: str | Path) -> Path:
    """The folder of a bundle.

    Args:
        bundle: a folder with a ``plan.yaml`` or ``configs/``, or the name of a bundle that comes with medbundle.

    Raises:
        InputError: there is none; suggests the nearest name.
    """
    path = given_path(bundle)
    places = [path, *(place / str(bundle) for place in (Path("bundles"), *_SHIPPED))]
    for place in filter(exists, places):
        if (place / "plan.yaml").is_file() or (place / "configs").is_dir():
            return place.resolve()
    known = sorted({one.parent.name for place in _SHIPPED for one in place.glob("*/plan.yaml")})
    near = difflib.get_close_matches(path.name, known, n=1)
    cure = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known) or 'none'}"
    if exists(path) and path.is_dir():
        raise InputError("is not a bundle", where=path, expected="a folder with configs/ or plan.yaml", cure=cure)
    raise InputError("no such bundle", where=bundle, expected="a bundle's folder or name", cure=cure)

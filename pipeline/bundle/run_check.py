"""The check at the head of each config: say in one line what stock MONAI says in sixty, or not at all."""

from __future__ import annotations

import difflib
import os
import warnings
from pathlib import Path

from monai.bundle import ConfigParser
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS, ID_SEP_KEY

from pipeline.data import existing_path
from pipeline.errors import InputError
from pipeline.patches.error_hook import print_input_errors_in_one_line
from pipeline.patches.freed_memory import keep_freed_memory
from pipeline.patches.running_workflow import running_workflow
from pipeline.sources.given import exists, given_path
from pipeline.writing import clear_leftovers

__all__ = ["check_run"]


def check_run(
    *, dataset_dir: str | None, weights: str | None = None, output_dir: str | None = None, one_line_errors: bool = True
) -> None:
    """Check what the user gave before anything is loaded; the first entry of ``initialize``.

    Also tells the allocator to keep freed memory, see :func:`pipeline.patches.freed_memory.keep_freed_memory`.

    Args:
        dataset_dir: must be given and exist.
        weights: the file with the weights, where the run needs one.
        output_dir: must be a folder that can be written, or be absent below one.
        one_line_errors: from now on, print a user's error in one line when it ends the process.

    Raises:
        InputError: also for an override that no config of the bundle knows, with the nearest one that it does.
    """
    if one_line_errors:
        print_input_errors_in_one_line()
    keep_freed_memory()
    # LoadImage makes all of MONAI's readers, and this one warns that it has no GPU decoder.
    warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")
    _check_overrides()
    existing_path(dataset_dir)
    if weights is not None and not Path(weights).is_file():
        raise InputError("no weights", where=weights, cure="Train the bundle first, or copy its model.pt here")
    if output_dir is not None:
        folder = given_path(output_dir)
        _check_writable(folder)
        clear_leftovers(folder)


def _check_writable(folder: Path) -> None:
    existing = next(place for place in (folder, *folder.absolute().parents) if exists(place))
    if not existing.is_dir():
        raise InputError("is not a folder", where=existing, cure="Give another output folder")
    if not os.access(existing, os.W_OK):
        raise InputError("cannot be written", where=existing, cure="Give another output folder")


def _check_overrides() -> None:
    """An override that is misspelt, or meant for another config, would be added to the config and do nothing."""
    workflow = running_workflow()
    if workflow is None:
        return
    given = set(workflow.parser.get())
    known = set(DEFAULT_EXP_MGMT_SETTINGS["mlflow"]["configs"])  # which --tracking adds
    for file in Path(workflow.config_root_path).glob("*.json"):
        if file.name != "metadata.json":
            keys = {key.split(ID_SEP_KEY)[0].lstrip("+") for key in ConfigParser.load_config_file(str(file))}
            known |= keys if keys <= given else set()  # else it is not among the configs of this run
    for key in workflow.parser.get():
        if key not in known and not key.startswith("_"):
            near = difflib.get_close_matches(key, sorted(known), n=1)
            cure = f"Did you mean --{near[0]}?" if near else "See the keys of the config file"
            raise InputError(f"unknown override --{key}", cure=cure)

"""Score a bundle on labelled cases that it has not seen, or any folder of label maps against references."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from pydoc import locate
from typing import TYPE_CHECKING

from pipeline.bundle import find_bundle, open_workflow, run_workflow
from pipeline.errors import InputError
from pipeline.evaluation import ScoreTable, provenance
from pipeline.evaluation.folders import match_folders, pair_labels, score_folders
from pipeline.evaluation.groups import Groups, group_text, read_groups, write_groups
from pipeline.evaluation.pairing import LabelPairing
from pipeline.evaluation.provenance import about_text
from pipeline.evaluation.tolerances import read_tolerances
from pipeline.metrics.surfaces import Definition
from pipeline.reports.html import report_evaluation, report_folders
from pipeline.sources.given import given_path
from pipeline.sources.label_table import read_label_table
from pipeline.sources.paths import first_of

if TYPE_CHECKING:
    from monai.bundle import ConfigParser, ConfigWorkflow

    from pipeline.data.inputs import Case

__all__ = ["evaluate", "evaluate_folders"]

logger = logging.getLogger(__name__)


def evaluate(
    bundle: str | Path,
    *,
    data: Path,
    output_dir: Path | None = None,
    subset: str | None = None,
    fold: int | None = None,
    weights: Path | None = None,
    groups: Path | None = None,
    by: str | None = None,
    surface: Definition | None = None,
    tolerance: Sequence[str] | None = None,
) -> tuple[ScoreTable, dict[str, str]]:
    """Every measure per case and label, on the cases' own grids.

    Args:
        bundle: its folder or name.
        data: see :func:`pipeline.data.find_pairs`.
        output_dir: gets the files of :meth:`pipeline.evaluation.ScoreTable.write`; the bundle's ``eval/`` when absent.
        subset: ``test`` (held out, the default), ``validation``, ``training`` or ``all``.
        fold: of the validation.
        weights: other weights than the bundle's; a datalist beside them tells what they were trained on.
        groups: see :func:`pipeline.evaluation.groups.read_groups`; adds ``groups.csv`` and ``groups.json``.
        by: the column of the groups; of the weights' datalist without ``groups``.
        surface: which surface distances are of, see :func:`pipeline.metrics.measure`; the boundary voxels when absent.
        tolerance: see :func:`pipeline.evaluation.tolerances.read_tolerances`; that of the bundle's plan when absent.

    Returns:
        The table and the reason for each case that failed (and counted as 0).

    Raises:
        InputError: also where an evaluated case shows an image or a patient that the weights were trained on.
    """
    weights = None if weights is None else given_path(weights).resolve()
    root = find_bundle(bundle)
    workflow = open_workflow(
        root,
        ["train", "evaluate"],
        dataset_dir=data,
        output_dir=None if output_dir is None else given_path(output_dir).resolve(),
        subset=subset,
        fold=fold,
        weights=weights,
        datalist_file=None if weights is None else weights.with_name("datalist.json"),
    )
    parser = workflow.parser
    _set_measures(workflow, surface, tolerance)
    listed = (weights or root / "models" / "model.pt").with_name("datalist.json")
    chosen = _groups_of_cases(groups, by, listed, parser)  # read first, so that a mistake shows at once
    if chosen is not None:
        parser["report"] = False  # it is written below, with the groups
    run_workflow(workflow, finalize=False)
    parsed = parser.get_parsed_content
    if chosen is not None:
        made_by = provenance(bundle=parsed("bundle_root"), weights=parsed("weights"), datalist=parsed("datalist_file"))
        _write_groups(parsed("scores"), chosen, Path(parsed("output_dir")), {"subset": parsed("subset"), **made_by})
        names = {"table": "scores", "gallery": "gallery", "folder": "output_dir", "cases": "cases"}
        report_evaluation(**{name: parsed(entry) for name, entry in names.items()}, weights=parsed("weights"))
    return parsed("scores"), _naming_files(parsed("failures").reasons, parsed("cases"))


def _naming_files(reasons: Mapping[str, str], cases: Sequence[Case]) -> dict[str, str]:
    """The reasons with both files of each case, where a case has two and they are not all named."""
    labelled = [case for case in cases if isinstance(case["label"], str)]
    files = {case["name"]: (first_of(case["image"])[0], case["label"]) for case in labelled}
    return {
        name: reason
        if name not in files or all(str(file) in reason for file in files[name])
        else f"{reason} (image {files[name][0]}, label {files[name][1]})"
        for name, reason in reasons.items()
    }


def _set_measures(workflow: ConfigWorkflow, surface: Definition | None, tolerance: Sequence[str] | None) -> None:
    """Lay the given measures over those of the bundle's config."""
    parser = workflow.parser
    if surface is None and tolerance is None:
        return
    if not _scores_segmentations(parser):
        raise InputError("surface and tolerance are for segmentations", cure="Leave --surface and --tolerance out")
    if surface is not None:
        parser["scores::definition"] = surface
    if tolerance is not None:
        labels = {int(value): name for value, name in parser.get_parsed_content("labels").items()}
        tolerances = read_tolerances(tolerance, labels)
        parser["scores::tolerance_mm"] = {str(value): one for value, one in tolerances.items()}


def _scores_segmentations(parser: ConfigParser) -> bool:
    """Whether the table that the config names has measures of label maps."""
    table = locate(str(parser["scores"]["_target_"]))
    return isinstance(table, type) and issubclass(table, ScoreTable)


def evaluate_folders(
    predictions: Path,
    references: Path,
    *,
    output_dir: Path,
    labels: Path | None = None,
    resample: bool = False,
    groups: Path | None = None,
    by: str | None = None,
    images: Path | None = None,
    surface: Definition | None = None,
    tolerance: Sequence[str] | None = None,
) -> tuple[ScoreTable, dict[str, str]]:
    """Every measure of a folder of label maps against a folder of references, without a bundle.

    Args:
        predictions: folder of NIfTI, NRRD, MHA, DICOM SEG, RTSTRUCT or PNG.
        references: another one; files of one name belong together.
        output_dir: gets the files of :meth:`pipeline.evaluation.ScoreTable.write`.
        labels: what the label values are called, see :func:`pipeline.sources.read_label_table`; DICOM segments are
            found by these names, or else by their codes. When absent, see
            :meth:`pipeline.evaluation.pairing.LabelPairing.of_files`.
        resample: bring a prediction on another grid to that of its reference, instead of refusing it.
        groups: see :func:`evaluate`; where it has a column ``patient``, intervals are over patients instead of cases.
        by: the column of the groups.
        images: folder of the cases' images, for the report.
        surface: see :func:`evaluate`.
        tolerance: see :func:`pipeline.evaluation.tolerances.read_tolerances`; 1 mm when absent.

    Returns:
        The table and the reason for each case that failed; see :func:`pipeline.evaluation.folders.score_folders`.

    Raises:
        InputError: a folder or table cannot be used, or no names match.
    """
    found = match_folders(predictions, references)
    chosen = _groups_of_folders(groups, by)
    pairing = pair_labels(found) if labels is None else _named_by(labels)
    names = pairing.names
    if not names:
        raise InputError("no label but background", where=references, cure="Name the labels by --labels")
    tolerances = read_tolerances(tolerance or ["1"], names)
    table = ScoreTable(names, tolerance_mm=tolerances, definition=surface or "voxel")
    patients = chosen.patients if chosen is not None else {}
    failures = score_folders(table, found, pairing=pairing, resample=resample, patients=patients)
    about = {
        **provenance(),
        "predictions": str(predictions),
        "references": str(references),
        "ignored": {name: str(path) for name, path in found.ignored.items()},
        "resampled": resample,
    }
    files = table.write(output_dir, about=about)
    logger.info("%s\n%s\nwrote %s", about_text(about), table.text(), " and ".join(map(str, files)))
    if chosen is not None:
        _write_groups(table, chosen, given_path(output_dir), about)
    report_folders(table=table, found=found, pairing=pairing, folder=output_dir, images=images)
    return table, failures


def _groups_of_cases(groups: Path | None, by: str | None, listed: Path, parser: ConfigParser) -> Groups | None:
    """The groups that are asked for, of the datalist where no table is given."""
    if groups is None and by is None:
        return None
    chosen = read_groups(listed if groups is None else groups, by)
    if not _scores_segmentations(parser):
        raise InputError("groups are for segmentations", cure="Leave --groups and --by out")
    return chosen


def _groups_of_folders(groups: Path | None, by: str | None) -> Groups | None:
    if groups is None and by is not None:
        raise InputError(f"no table tells the {by} of the cases", cure="Give it by --groups")
    return None if groups is None else read_groups(groups, by)


def _named_by(labels: Path) -> LabelPairing:
    return LabelPairing.of_table(read_label_table(labels, any_value=True), labels)


def _write_groups(table: ScoreTable, groups: Groups, folder: Path, about: dict[str, object]) -> None:
    measures = table.measures()
    files = write_groups(measures, groups, folder, about)
    logger.info("%s\nwrote %s", group_text(measures, groups), " and ".join(map(str, files)))

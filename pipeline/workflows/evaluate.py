"""Score a bundle on labelled cases that it has not seen, or any folder of label maps against references."""

from __future__ import annotations

import logging
from pathlib import Path

from pipeline.bundle import find_bundle, open_workflow, run_workflow
from pipeline.errors import InputError
from pipeline.evaluation import ScoreTable, provenance
from pipeline.evaluation.folders import label_names, match_folders, score_folders
from pipeline.evaluation.groups import Groups, group_text, read_groups, write_groups
from pipeline.evaluation.label_maps import read_label_names
from pipeline.reports.html import report_evaluation, report_folders

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

    Returns:
        The table and the reason for each case that failed (and counted as 0).

    Raises:
        InputError: also where an evaluated image is an exact copy of one that the weights were trained on.
    """
    weights = None if weights is None else weights.expanduser().resolve()
    workflow = open_workflow(
        find_bundle(bundle),
        ["train", "evaluate"],
        dataset_dir=data,
        output_dir=None if output_dir is None else output_dir.expanduser().resolve(),
        subset=subset,
        fold=fold,
        weights=weights,
        datalist_file=None if weights is None else weights.with_name("datalist.json"),
    )
    chosen = None if groups is None else read_groups(groups, by)  # first, so that a mistake shows at once
    run_workflow(workflow, finalize=False)
    parsed = workflow.parser.get_parsed_content
    if chosen is None and by is not None:
        chosen = read_groups(parsed("datalist_file"), by)
    if chosen is not None:
        made_by = provenance(bundle=parsed("bundle_root"), weights=parsed("weights"), datalist=parsed("datalist_file"))
        _write_groups(parsed("scores"), chosen, Path(parsed("output_dir")), {"subset": parsed("subset"), **made_by})
        if "gallery" in workflow.parser:  # once more, now with the groups
            names = {"table": "scores", "gallery": "gallery", "folder": "output_dir", "cases": "cases"}
            report_evaluation(**{name: parsed(entry) for name, entry in names.items()}, weights=parsed("weights"))
    return parsed("scores"), dict(parsed("failures").reasons)


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
) -> tuple[ScoreTable, dict[str, str]]:
    """Every measure of a folder of label maps against a folder of references, without a bundle.

    Args:
        predictions: folder of NIfTI, NRRD, MHA, DICOM SEG or PNG.
        references: another one; files of one name belong together.
        output_dir: gets the files of :meth:`pipeline.evaluation.ScoreTable.write`.
        labels: what the label values are called, see :func:`pipeline.evaluation.label_maps.read_label_names`. When
            absent, all values that occur are scored, as ``label 1`` or by the names of DICOM segments.
        resample: bring a prediction on another grid to that of its reference, instead of refusing it.
        groups: see :func:`evaluate`; where it has a column ``patient``, intervals are over patients instead of cases.
        by: the column of the groups.
        images: folder of the cases' images, for the report.

    Returns:
        The table and the reason for each case that failed; see :func:`pipeline.evaluation.folders.score_folders`.

    Raises:
        InputError: a folder or table cannot be used, or no names match.
    """
    found = match_folders(predictions, references)
    if groups is None and by is not None:
        raise InputError(f"no table tells the {by} of the cases", cure="Give it by --groups")
    chosen = None if groups is None else read_groups(groups, by)
    table = ScoreTable(read_label_names(labels) if labels is not None else label_names(found))
    if not table.labels:
        raise InputError("no label but background", where=references, cure="Name the labels by --labels")
    patients = chosen.patients if chosen is not None else {}
    failures = score_folders(table, found, resample=resample, patients=patients)
    about = {
        **provenance(),
        "predictions": str(predictions),
        "references": str(references),
        "ignored": {name: str(path) for name, path in found.ignored.items()},
        "resampled": resample,
    }
    files = table.write(output_dir, about=about)
    logger.info("%s\nwrote %s", table.text(), " and ".join(map(str, files)))
    if chosen is not None:
        _write_groups(table, chosen, output_dir.expanduser(), about)
    report_folders(table=table, found=found, folder=output_dir, images=images)
    return table, failures


def _write_groups(table: ScoreTable, groups: Groups, folder: Path, about: dict[str, object]) -> None:
    if not isinstance(table, ScoreTable):
        raise InputError("groups are for segmentations")
    measures = table.measures()
    files = write_groups(measures, groups, folder, about)
    logger.info("%s\nwrote %s", group_text(measures, groups), " and ".join(map(str, files)))

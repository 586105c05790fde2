"""What the verbs do: call one workflow, print what it tells, return the exit status.

Imports stand inside functions so that ``medbundle --help`` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError, failure_list

if TYPE_CHECKING:
    from pipeline.bundle.applying import Applied

__all__ = [
    "build",
    "calibrate",
    "classify",
    "compare",
    "convert",
    "deidentify",
    "demo",
    "evaluate",
    "explain",
    "inspect",
    "segment",
    "train",
    "verify",
]

EXIT_CASES = 3


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


def segment(arguments: argparse.Namespace) -> int:
    """Segment what lies at a path."""
    from pipeline.patches.quick_import import import_monai

    import_monai()
    from pipeline.workflows.segment import segment

    done = segment(**_application(arguments), max_memory_gb=arguments.max_memory, engine=arguments.engine,
                   probabilities=arguments.probabilities)  # fmt: skip
    return _report_applied("segmented", done)


def classify(arguments: argparse.Namespace) -> int:
    """Classify what lies at a path."""
    from pipeline.patches.quick_import import import_monai

    import_monai()
    from pipeline.workflows.classify import classify

    return _report_applied("classified", classify(**_application(arguments)))


def explain(arguments: argparse.Namespace) -> int:
    """Explain the class of each picture."""
    from pipeline.workflows.explain import explain

    done = explain(**_application(arguments), label=arguments.label, layer=arguments.layer)
    return _report_applied("explained", done)


def _application(arguments: argparse.Namespace) -> dict[str, Any]:
    names = {"source": "input", "bundle": "bundle", "output_dir": "output", "series": "series", "weights": "weights",
             "untilt": "untilt"}  # fmt: skip
    return {name: getattr(arguments, given) for name, given in names.items()}


def _report_applied(done_to: str, done: Applied) -> int:
    finished = len(done.cases) - len(done.failures)
    _write(f"{done_to} {finished} of {len(done.cases)} case(s) into {done.output_dir}")
    return _report_failures(done.failures, len(done.cases))


def train(arguments: argparse.Namespace) -> int:
    """Train a bundle."""
    from pipeline.workflows.train import train

    weights = train(
        arguments.bundle,
        data=arguments.data,
        output=arguments.output,
        epochs=arguments.epochs,
        time_budget_minutes=arguments.time_budget,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        fold=arguments.fold,
        seed=arguments.seed,
        imagenet_weights=arguments.imagenet_weights,
        resume=arguments.resume or None,
    )
    _write(f"wrote {weights}")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Score a bundle, or a folder of label maps."""
    from pipeline.workflows.evaluate import evaluate, evaluate_folders

    if arguments.predictions is not None or arguments.references is not None:
        _only(arguments, ["predictions", "references"], without=["bundle", "data", "subset", "fold", "weights"])
        names = ["predictions", "references", "labels", "resample", "groups", "by", "images", "surface", "tolerance"]
        table, failures = evaluate_folders(output_dir=arguments.output, **_named(arguments, names))
        return _report_failures(failures, len(table.cases) + len(table.unscored))
    _only(arguments, ["bundle", "data"], without=["labels", "resample", "images"])
    names = ["bundle", "data", "subset", "fold", "weights", "groups", "by", "surface", "tolerance"]
    table, failures = evaluate(output_dir=arguments.output, **_named(arguments, names))
    return _report_failures(failures, len(table.cases))


def _named(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in names}


def _only(arguments: argparse.Namespace, needed: Sequence[str], *, without: Sequence[str]) -> None:
    """Refuse what does not belong together."""
    cure = "Give BUNDLE --data DIR, or --predictions DIR --references DIR"
    for name in needed:
        if getattr(arguments, name) is None:
            raise InputError(f"{name} is not given", cure=cure)
    for name in without:
        if getattr(arguments, name) not in (None, False):
            raise InputError(f"{name} does not go with {needed[0]}", cure=cure)


def compare(arguments: argparse.Namespace) -> int:
    """Compare evaluations."""
    from pipeline.workflows.compare import compare

    compare(arguments.results, output=arguments.output, measures=arguments.measures)
    return 0


def inspect(arguments: argparse.Namespace) -> int:
    """Tell what lies at a path."""
    from pipeline.workflows.inspect import inspect, print_findings

    findings = inspect(arguments.path, bundle=arguments.bundle)
    print_findings(findings, as_json=arguments.json)
    return 0


def convert(arguments: argparse.Namespace) -> int:
    """Convert one thing to another."""
    from pipeline.workflows.convert import convert

    names = ["output", "reference", "series", "labels", "kind", "segmentation_type", "compression", "untilt",
             "strict"]  # fmt: skip
    files = convert(arguments.source, **_named(arguments, names))
    _write("\n".join(f"wrote {file}" for file in files))
    return 0


def deidentify(arguments: argparse.Namespace) -> int:
    """De-identify DICOM files."""
    from pipeline.workflows.deidentify import deidentify

    names = ["output", "dates", "key", "uid_map", "prefix"]
    done = deidentify(arguments.source, **_named(arguments, names))
    return _report_failures(done.failures, done.files + len(done.failures))


def calibrate(arguments: argparse.Namespace) -> int:
    """Calibrate a bundle's predicted quality, or check it."""
    from pipeline.workflows.calibrate import calibrate, check_calibration

    if arguments.check:
        if arguments.fold is not None:
            raise InputError("fold does not go with check", cure="Leave one of them out")
        check_calibration(arguments.bundle, **_named(arguments, ["data", "weights", "seed"]))
        return 0
    _write(f"wrote {calibrate(arguments.bundle, **_named(arguments, ['data', 'weights', 'fold', 'seed']))}")
    return 0


def build(arguments: argparse.Namespace) -> int:
    """Write a bundle's configs."""
    from pipeline.bundle import build_bundle, find_bundle

    root = find_bundle(arguments.bundle)
    changed = build_bundle(root)
    _write("\n".join(f"wrote {path}" for path in changed) or f"{root}: nothing changed")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Check a bundle."""
    from pipeline.bundle import find_bundle, verify_bundle

    root = find_bundle(arguments.bundle)
    checks = verify_bundle(root)
    for name, problem in checks.items():
        _write(f"{'ok    ' if problem is None else 'FAILED'} {name}" + ("" if problem is None else f": {problem}"))
    failed = [name for name, problem in checks.items() if problem is not None]
    if failed:
        raise InputError(f"{len(failed)} of {len(checks)} checks failed", where=root)
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """Train, evaluate and segment phantoms."""
    from pipeline.workflows.demo import demo

    demo(arguments.output, minutes=arguments.minutes)
    return 0


def _report_failures(failures: dict[str, str], total: int) -> int:
    if not failures:
        return 0
    sys.stderr.write(failure_list(failures, total=total))
    return EXIT_CASES

"""The ``medpipe`` command: parse, call one workflow, print.

Imports stand inside functions so that ``medpipe --help`` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from pipeline import __version__
from pipeline.errors import InputError, failure_list, find_input_error

if TYPE_CHECKING:
    from pipeline.workflows.apply import Applied

__all__ = ["main"]

EXIT_INPUT, EXIT_CASES, EXIT_INTERRUPTED = 1, 3, 130


class _Parser(argparse.ArgumentParser):
    """Errors in one line, exit status 1."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message, cure=f"See: {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 1 for unusable input, 3 where some cases failed."""
    try:
        arguments = _parse(list(sys.argv[1:] if argv is None else argv))
        command: Callable[[argparse.Namespace], int] = arguments.command
        stream: Literal["stdout", "stderr"] = "stderr" if getattr(arguments, "json", False) else "stdout"
        with _messages(verbose=arguments.verbose, stream=stream):
            return command(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("medpipe: interrupted\n")
        return EXIT_INTERRUPTED
    except Exception as error:
        known = find_input_error(error)
        if known is None:
            raise
        sys.stderr.write(f"medpipe: {known}\n")
        return EXIT_INPUT


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = _build_parser()
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        verb: _Parser = arguments.parser
        options = [option for action in verb._actions for option in action.option_strings]
        name = unknown[0].split("=")[0]
        near = difflib.get_close_matches(name, options, n=1)
        raise InputError(
            f"unknown argument {name}", cure=f"Did you mean {near[0]}?" if near else f"See: {verb.prog} --help"
        )
    return arguments


def _build_parser() -> _Parser:
    parser = _Parser(
        prog="medpipe", description="From DICOM, NIfTI or PNG to a MONAI bundle and to masks.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"medpipe {__version__}")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def verb(name: str, command: Callable[[argparse.Namespace], int], help_text: str) -> _Parser:
        sub = verbs.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
        sub.set_defaults(command=command, parser=sub)
        sub.add_argument("--verbose", action="store_true", help="show what the libraries log")
        return sub

    sub = verb("segment", _segment, "Segment a file, a folder of files, a DICOM series or a folder of series.")
    _add_application(sub, results="the masks")

    sub = verb("classify", _classify, "Classify a file, a folder of files or a DICOM series: a table and a picture.")
    _add_application(sub, results="the table and the picture")

    sub = verb("explain", _explain, "Show which part of each picture speaks for its class (Grad-CAM).")
    _add_application(sub, results="the pictures")
    sub.add_argument("--class", dest="label", metavar="NAME", help="the class to explain (default: the predicted one)")
    sub.add_argument("--layer", metavar="NAME", help="the network's layer to map (default: the last that gives a map)")

    sub = verb("train", _train, "Train a bundle on a labelled data set.")
    sub.add_argument("bundle", metavar="BUNDLE")
    sub.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of a labelled data set")
    sub.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="folder for weights and curves (default: the bundle; for one of medpipe's own, BUNDLE_training)",
    )
    sub.add_argument("--epochs", type=int)
    sub.add_argument("--time-budget", type=float, metavar="MINUTES", help="end in time, with the learning rate decayed")
    sub.add_argument("--batch-size", type=int)
    sub.add_argument("--learning-rate", type=float)
    sub.add_argument("--fold", type=int, help="the fold that validates (default 0)")
    sub.add_argument("--seed", type=int)
    sub.add_argument("--imagenet-weights", type=Path, metavar="FILE", help="state dict with torchvision's key names")
    sub.add_argument("--resume", action="store_true", help="go on from the last finished epoch")

    sub = verb("evaluate", _evaluate, "Dice of a bundle on labelled cases that it has not seen.")
    sub.add_argument("bundle", metavar="BUNDLE")
    sub.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of a labelled data set")
    sub.add_argument(
        "-o", "--output", type=Path, metavar="OUT", default=Path("evaluation"), help="default: evaluation/"
    )
    sub.add_argument(
        "--subset", choices=["test", "validation", "training", "all"], help="default: test, the held-out cases"
    )
    sub.add_argument("--fold", type=int, help="the fold that validates (default 0)")
    sub.add_argument("--weights", type=Path, metavar="FILE", help="other weights than the bundle's")

    sub = verb("inspect", _inspect, "Show which series and images are at a path, their geometry and what is wrong.")
    sub.add_argument("path", type=Path, metavar="PATH")
    sub.add_argument("--json", action="store_true", help="for machines")

    sub = verb("build", _build, "Write a bundle's configs from its plan.yaml.")
    sub.add_argument("bundle", metavar="BUNDLE")

    sub = verb("verify", _verify, "Check a bundle: metadata, network, properties, weights, configs against the plan.")
    sub.add_argument("bundle", metavar="BUNDLE")

    sub = verb(
        "demo", _demo, "Make phantom CT series, train a small bundle on them for a minute, evaluate and segment."
    )
    sub.add_argument("-o", "--output", type=Path, default=Path("medpipe_demo"), metavar="OUT")
    sub.add_argument("--minutes", type=float, default=1.2, help="time to train (default 1.2)")
    return parser


def _add_application(sub: _Parser, *, results: str) -> None:
    """What the commands that apply a bundle share."""
    sub.add_argument("input", type=Path, metavar="INPUT")
    sub.add_argument("--bundle", required=True, help="folder or name of a bundle")
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help=f"folder for {results}")
    sub.add_argument("--series", help="the DICOM series to take: its number, description or UID, see inspect")
    sub.add_argument("--weights", type=Path, metavar="FILE", help="other weights than the bundle's")


class _Messages(logging.Handler):
    """Write to what ``sys.stdout`` or ``sys.stderr`` is at the moment: a progress bar replaces it to stay below."""

    def __init__(self, stream: Literal["stdout", "stderr"]) -> None:
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        stream = getattr(sys, self.stream)
        stream.write(self.format(record) + "\n")
        stream.flush()  # a log file is read while the training goes on


@contextmanager
def _messages(*, verbose: bool, stream: Literal["stdout", "stderr"]) -> Iterator[None]:
    """Our own messages, plainly; the libraries' and their warnings only when asked for."""
    import warnings

    handler = _Messages(stream)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s" if verbose else "%(message)s"))
    logger = logging.getLogger(None if verbose else "pipeline")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    with warnings.catch_warnings():
        if not verbose:
            warnings.simplefilter("ignore")
            for name in ("ignite", "monai.data.nvimgcodec_pydicom_plugin"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.removeHandler(handler)


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


def _segment(arguments: argparse.Namespace) -> int:
    from pipeline.workflows.segment import segment

    return _report_applied("segmented", segment(**_application(arguments)))


def _classify(arguments: argparse.Namespace) -> int:
    from pipeline.workflows.classify import classify

    return _report_applied("classified", classify(**_application(arguments)))


def _explain(arguments: argparse.Namespace) -> int:
    from pipeline.workflows.explain import explain

    done = explain(**_application(arguments), label=arguments.label, layer=arguments.layer)
    return _report_applied("explained", done)


def _application(arguments: argparse.Namespace) -> dict[str, Any]:
    names = {"source": "input", "bundle": "bundle", "output_dir": "output", "series": "series", "weights": "weights"}
    return {name: getattr(arguments, given) for name, given in names.items()}


def _report_applied(done_to: str, done: Applied) -> int:
    finished = len(done.cases) - len(done.failures)
    _write(f"{done_to} {finished} of {len(done.cases)} case(s) into {done.output_dir}")
    return _report_failures(done.failures, len(done.cases))


def _train(arguments: argparse.Namespace) -> int:
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


def _evaluate(arguments: argparse.Namespace) -> int:
    from pipeline.workflows.evaluate import evaluate

    table, failures = evaluate(
        arguments.bundle,
        data=arguments.data,
        output_dir=arguments.output,
        subset=arguments.subset,
        fold=arguments.fold,
        weights=arguments.weights,
    )
    return _report_failures(failures, len(table.cases))


def _inspect(arguments: argparse.Namespace) -> int:
    from pipeline.workflows.inspect import inspect, print_findings

    findings = inspect(arguments.path)
    print_findings(findings, as_json=arguments.json)
    return 0


def _build(arguments: argparse.Namespace) -> int:
    from pipeline.bundle import build_bundle, find_bundle

    root = find_bundle(arguments.bundle)
    changed = build_bundle(root)
    _write("\n".join(f"wrote {path}" for path in changed) or f"{root}: nothing changed")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from pipeline.bundle import find_bundle, verify_bundle

    root = find_bundle(arguments.bundle)
    checks = verify_bundle(root)
    for name, problem in checks.items():
        _write(f"{'ok    ' if problem is None else 'FAILED'} {name}" + ("" if problem is None else f": {problem}"))
    failed = [name for name, problem in checks.items() if problem is not None]
    if failed:
        raise InputError(f"{len(failed)} of {len(checks)} checks failed", where=root)
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from pipeline.workflows.demo import demo

    demo(arguments.output, minutes=arguments.minutes)
    return 0


def _report_failures(failures: dict[str, str], total: int) -> int:
    if not failures:
        return 0
    sys.stderr.write(failure_list(failures, total=total))
    return EXIT_CASES


if __name__ == "__main__":
    raise SystemExit(main())

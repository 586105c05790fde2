"""The verbs of the ``medbundle`` command and their options."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from pipeline import __version__
from pipeline.cli import commands
from pipeline.errors import InputError
from pipeline.sources.given import given_path

__all__ = ["parse"]


class _Parser(argparse.ArgumentParser):
    """Errors in one line, exit status 1."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message, cure=f"See: {self.prog} --help")


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the arguments; ``command`` of the result is the function of :mod:`pipeline.cli.commands` to call.

    Raises:
        InputError: an unknown verb or option, with the nearest known one.
    """
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
        prog="medbundle", description="From DICOM, NIfTI or PNG to a MONAI bundle and to masks.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"medbundle {__version__}")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def verb(name: str, command: Callable[[argparse.Namespace], int], help_text: str) -> _Parser:
        sub = verbs.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
        sub.set_defaults(command=command, parser=sub)
        sub.add_argument("--verbose", action="store_true", help="show what the libraries log")
        return sub

    sub = verb("segment", commands.segment, "Segment a file, a folder of files, a DICOM series or a folder of series.")
    _add_application(sub, results="the masks")
    about = "keep to this: a forecast chooses the windows, or the case is refused"
    sub.add_argument("--max-memory", type=float, metavar="GB", help=about)
    about = "what runs the network: float32, bfloat16, openvino, ... (default: auto, the fastest with the same labels)"
    sub.add_argument("--engine", metavar="NAME", help=about)
    about = "also write the probabilities of these labels, or of all"
    sub.add_argument("--probabilities", nargs="+", metavar="NAME", help=about)

    about = "Classify a file, a folder of files or a DICOM series: a table and a picture."
    _add_application(verb("classify", commands.classify, about), results="the table and the picture")

    sub = verb("explain", commands.explain, "Show which part of each picture speaks for its class (Grad-CAM).")
    _add_application(sub, results="the pictures")
    sub.add_argument("--class", dest="label", metavar="NAME", help="the class to explain (default: the predicted one)")
    sub.add_argument("--layer", metavar="NAME", help="the network's layer to map (default: the last that gives a map)")

    _add_training(verb("train", commands.train, "Train a bundle on a labelled data set."))

    about = "Score a bundle on labelled cases that it has not seen, or any folder of label maps against references."
    _add_evaluation(verb("evaluate", commands.evaluate, about))

    about = "Calibrate the predicted Dice of a segmentation bundle on its validation cases, as they are and degraded."
    _add_calibration(verb("calibrate", commands.calibrate, about))

    sub = verb("compare", commands.compare, "Compare the results of two or more evaluations, case by case.")
    sub.add_argument(
        "results", type=given_path, nargs="+", metavar="RESULTS", help="output folders of medbundle evaluate"
    )
    sub.add_argument("-o", "--output", type=given_path, required=True, metavar="OUT", help="folder for the tables")
    about = "columns of metrics.csv to compare (default: all that can be)"
    sub.add_argument("--measures", nargs="+", metavar="COLUMN", help=about)

    about = "Show which series and images are at a path, their geometry and what is wrong."
    sub = verb("inspect", commands.inspect, about)
    sub.add_argument("path", type=given_path, metavar="PATH")
    sub.add_argument("--bundle", metavar="BUNDLE", help="also show which channel of its network each image would be")
    sub.add_argument("--json", action="store_true", help="for machines")

    about = "Convert a DICOM series to NIfTI, or labels between NIfTI, DICOM SEG, RTSTRUCT, surfaces and tables."
    _add_conversion(verb("convert", commands.convert, about))

    about = "Take the patient's identity out of DICOM files (PS3.15's basic profile); burned-in text and faces stay."
    _add_deidentification(verb("deidentify", commands.deidentify, about))

    sub = verb("build", commands.build, "Write a bundle's configs from its plan.yaml.")
    sub.add_argument("bundle", metavar="BUNDLE")

    about = "Check a bundle: metadata, network, properties, weights, configs against the plan."
    sub = verb("verify", commands.verify, about)
    sub.add_argument("bundle", metavar="BUNDLE")

    about = "Make phantom CT series, train a small bundle on them for a minute, evaluate and segment."
    sub = verb("demo", commands.demo, about)
    sub.add_argument("-o", "--output", type=given_path, default=Path("medbundle_demo"), metavar="OUT")
    sub.add_argument("--minutes", type=float, default=1.2, help="time to train (default 1.2)")
    return parser


def _add_application(sub: _Parser, *, results: str) -> None:
    """What the commands that apply a bundle share."""
    sub.add_argument("input", type=given_path, metavar="INPUT")
    sub.add_argument("--bundle", required=True, help="folder or name of a bundle")
    sub.add_argument("-o", "--output", type=given_path, required=True, metavar="OUT", help=f"folder for {results}")
    _add_series(sub)
    sub.add_argument("--weights", type=given_path, metavar="FILE", help="other weights than the bundle's")


def _add_series(sub: _Parser) -> None:
    sub.add_argument(
        "--series",
        help="the DICOM series to take: its number, description or UID, see inspect; with /2 for its second volume",
    )
    sub.add_argument("--untilt", action="store_true", help="resample a tilted gantry's slices to an upright grid")


def _add_training(sub: _Parser) -> None:
    """Train a bundle."""
    sub.add_argument("bundle", metavar="BUNDLE")
    sub.add_argument("--data", type=given_path, required=True, metavar="DIR", help="folder of a labelled data set")
    about = "folder for weights and curves (default: the bundle; for one of medbundle's own, BUNDLE_training)"
    sub.add_argument("-o", "--output", type=given_path, metavar="OUT", help=about)
    sub.add_argument("--epochs", type=int, metavar="N")
    sub.add_argument("--time-budget", type=float, metavar="MINUTES", help="end in time, with the learning rate decayed")
    sub.add_argument("--batch-size", type=int)
    sub.add_argument("--learning-rate", type=float)
    about = "the fold that validates (default 0); all trains on every fold"
    sub.add_argument("--fold", type=fold, metavar="K", help=about)
    sub.add_argument("--seed", type=int)
    sub.add_argument(
        "--imagenet-weights", type=given_path, metavar="FILE", help="state dict with torchvision's key names"
    )
    sub.add_argument("--resume", action="store_true", help="go on from the last finished epoch")


def _add_calibration(sub: _Parser) -> None:
    """Calibrate a bundle, or check its calibration."""
    sub.add_argument("bundle", metavar="BUNDLE")
    sub.add_argument("--data", type=given_path, required=True, metavar="DIR", help="folder of a labelled data set")
    sub.add_argument("--weights", type=given_path, metavar="FILE", help="other weights than the bundle's")
    sub.add_argument("--fold", type=int, help="the fold that validates (default 0)")
    sub.add_argument("--seed", type=int, default=0, help="of the degradations and the models (default 0)")
    sub.add_argument("--check", action="store_true", help="change nothing; how good is it on the held-out test cases?")


def _add_evaluation(sub: _Parser) -> None:
    """Score a bundle, or two folders."""
    sub.add_argument("bundle", nargs="?", metavar="BUNDLE")
    sub.add_argument("--data", type=given_path, metavar="DIR", help="folder of a labelled data set")
    sub.add_argument(
        "-o", "--output", type=given_path, metavar="OUT", default=Path("evaluation"), help="default: evaluation/"
    )
    parts = ["test", "validation", "training", "all"]
    sub.add_argument("--subset", choices=parts, help="default: test, the held-out cases")
    sub.add_argument("--fold", type=int, help="the fold that validates (default 0)")
    sub.add_argument("--weights", type=given_path, metavar="FILE", help="other weights than the bundle's")
    about = "distances are of boundary voxels, as MONAI's (default), or of surface elements by their area, as Nikolov's"
    sub.add_argument("--surface", choices=["voxel", "surface_element"], help=about)
    about = "tolerance of the surface Dice in mm, of pictures in pixels: a number, or NAME=MM of each label"
    sub.add_argument("--tolerance", nargs="+", metavar="MM", help=about)
    group = sub.add_argument_group("two folders of label maps, without a bundle")
    group.add_argument("--predictions", type=given_path, metavar="DIR", help="NIfTI, MHA, SEG, PNG, ...")
    group.add_argument("--references", type=given_path, metavar="DIR", help="files of one name belong together")
    about = 'names of the labels: JSON {"1": "Liver"}, dataset.json or CSV with value,name'
    group.add_argument("--labels", type=given_path, metavar="FILE", help=about)
    group.add_argument("--images", type=given_path, metavar="DIR", help="images of the cases, for the report")
    group.add_argument("--resample", action="store_true", help="bring a prediction on another grid to its reference's")
    group = sub.add_argument_group("subgroups")
    group.add_argument("--groups", type=given_path, metavar="FILE", help="CSV with a column case or patient")
    about = "column of that table, or of the bundle's datalist, such as scanner, site or sex"
    group.add_argument("--by", metavar="COLUMN", help=about)


def _add_conversion(sub: _Parser) -> None:
    sub.add_argument("source", type=given_path, metavar="SOURCE", help="DICOM series, label map, SEG or RTSTRUCT")
    about = "OUT.nii.gz, OUT.dcm, OUT.stl, OUT.obj, OUT.glb or OUT.csv: the suffix tells what is made"
    sub.add_argument("output", type=given_path, metavar="OUT", help=about)
    sub.add_argument("--reference", type=given_path, metavar="SERIES", help="the DICOM series that labels belong to")
    sub.add_argument(
        "--strict",
        action="store_true",
        help="refuse contours of an RTSTRUCT that would be interpolated, joined, clipped or left out",
    )
    _add_series(sub)
    about = "names of the labels: JSON, with codes and colours too, dataset.json or CSV with value,name"
    sub.add_argument("--labels", type=given_path, metavar="FILE", help=about)
    about = "what OUT.dcm is (default: segmentation)"
    sub.add_argument("--kind", choices=["segmentation", "rtstruct", "report"], help=about)
    sub.add_argument(
        "--segmentation-type",
        choices=["binary", "labelmap"],
        default="binary",
        help="of a SEG: a frame per label and slice (default), or one per slice",
    )
    sub.add_argument(
        "--compression",
        choices=["none", "deflated", "rle"],
        help="of a SEG (default: none for binary, rle for labelmap)",
    )


def _add_deidentification(sub: _Parser) -> None:
    sub.add_argument("source", type=given_path, metavar="IN", help="DICOM files, in folders of any depth")
    sub.add_argument("output", type=given_path, metavar="OUT", help="a new folder; it gets the files and audit.csv")
    sub.add_argument(
        "--dates",
        choices=["remove", "shift"],
        default="remove",
        help="shift keeps a patient's intervals",
    )
    sub.add_argument(
        "--key", type=given_path, metavar="FILE", help="a secret, by which several runs give the same new UIDs"
    )
    sub.add_argument(
        "--uid-map", type=given_path, metavar="FILE", help="old and new UIDs; whoever has it can trace back"
    )
    sub.add_argument("--prefix", default="subject", help="of the pseudonyms (default: subject)")


def fold(text: str) -> int | str:
    """The number of a fold, or ``all``; argparse names a wrong value by this function's name."""
    return text if text == "all" else int(text)

"""A bundle as an object: locate, check, build from a plan, open, verify."""

from pipeline.bundle.build import build_bundle, stale_files
from pipeline.bundle.locate import find_bundle, running_bundle_root
from pipeline.bundle.run_check import check_run
from pipeline.bundle.verify import verify_bundle
from pipeline.bundle.workflow import open_workflow, run_workflow

__all__ = [
    "build_bundle",
    "check_run",
    "find_bundle",
    "open_workflow",
    "run_workflow",
    "running_bundle_root",
    "stale_files",
    "verify_bundle",
]

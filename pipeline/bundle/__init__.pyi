from .build import build_bundle, stale_files
from .literal import literal, literal_text
from .locate import find_bundle, running_bundle_root
from .run_check import check_run
from .verify import verify_bundle
from .workflow import open_workflow, run_workflow

__all__ = [
    "build_bundle",
    "check_run",
    "find_bundle",
    "literal",
    "literal_text",
    "open_workflow",
    "run_workflow",
    "running_bundle_root",
    "stale_files",
    "verify_bundle",
]

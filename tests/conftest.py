from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker per core: more threads than cores slow each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Build a folder once for all processes of a run, and give each a copy of its own.

    Training is dear, and every process would train alike.
    """

    def give(name: str, build: Callable[[Path], object]) -> Path:
        own = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" not in os.environ:
            build(own / name)
            return own / name
        common = own.parent / "built once" / name
        common.parent.mkdir(exist_ok=True)
        done = common.with_name(f"{name} is done")
        try:
            common.with_name(f"{name} is begun").mkdir()
        except FileExistsError:
            for _ in range(6000):
                if done.exists():
                    break
                time.sleep(0.1)
        else:
            build(common)
            done.touch()
        assert done.exists(), f"another process has failed to build {name}"
        return Path(shutil.copytree(common, own / name))

    return give


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real data sets, which is no part of the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        reason = f"the real data is not at {folder}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder

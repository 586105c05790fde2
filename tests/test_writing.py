"""A file appears whole, is on the disk, and a killed process leaves nothing for long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError
from pipeline.writing import clear_leftovers, temporary_path, whole_file

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and folders")


def _hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def _start(folder: Path, body: str) -> subprocess.Popen[str]:
    """A process that has begun to write into a folder, and waits."""
    code = f"""
        import sys, time
        from pathlib import Path
        from pipeline.writing import temporary_path, whole_file
        folder = Path({str(folder)!r})
        {body}
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    return process


HALF = """with whole_file(folder / "mask.nii.gz") as half:
            half.write_bytes(b"half")
            print("written", flush=True)
            time.sleep(60)"""
HALF_FOLDER = """made = temporary_path(folder)
        made.mkdir()
        (made / "0.nii").write_bytes(b"half")
        print("written", flush=True)
        time.sleep(60)"""


@posix
@pytest.mark.parametrize("body", [HALF, HALF_FOLDER])
def test_the_next_write_clears_what_a_killed_process_left_and_nothing_else(body: str, tmp_path: Path) -> None:
    process = _start(tmp_path, body)
    foreign = [".DS_Store", ".12345.mask.nii.gz", ".medbundle", ".medbundle-notes.txt", ".probabilities-1"]
    for name in foreign:
        (tmp_path / name).write_text("not ours")
    (left,) = {*_hidden(tmp_path)} - {*foreign}
    clear_leftovers(tmp_path)
    assert left in _hidden(tmp_path)  # its process lives
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert left in _hidden(tmp_path)
    with whole_file(tmp_path / "other.txt") as temporary:
        temporary.write_text("whole")
        assert left not in _hidden(tmp_path)
    assert _hidden(tmp_path) == sorted(foreign)


@posix
def test_a_living_process_finishes_its_file_beside_others(tmp_path: Path) -> None:
    (tmp_path / "go").mkdir()
    process = _start(tmp_path, HALF.replace("time.sleep(60)", "while (folder / 'go').exists(): time.sleep(0.01)"))
    with whole_file(tmp_path / "other.txt") as temporary:
        temporary.write_text("whole")
    clear_leftovers(tmp_path)
    (tmp_path / "go").rmdir()
    assert process.wait() == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"mask.nii.gz": "half", "other.txt": "whole"}


def test_what_another_machine_writes_is_left_alone(tmp_path: Path) -> None:
    own = temporary_path(tmp_path, suffix=".nii.gz").name
    machine, process = own.split("-")[1:3]
    other = own.replace(machine, "0" * 8 if machine != "0" * 8 else "1" * 8).replace(f"-{process}-", "-999999999-")
    (tmp_path / other).write_text("half")
    (tmp_path / own.replace(f"-{process}-", "-999999999-")).write_text("half")
    clear_leftovers(tmp_path)
    assert _hidden(tmp_path) == [other]


def test_an_earlier_process_of_the_same_number_is_no_living_one(tmp_path: Path) -> None:
    own = temporary_path(tmp_path)
    own.write_text("being written")
    earlier = own.with_name(own.name.rsplit("-", 1)[0] + "-999999")
    earlier.write_text("half")
    clear_leftovers(tmp_path)
    assert _hidden(tmp_path) == [own.name]


@posix
def test_a_file_is_on_the_disk_before_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []
    sync, replace = os.fsync, os.replace

    def noting_sync(file: int) -> None:
        done.append(("sync", os.fstat(file).st_ino))
        sync(file)

    def noting_replace(source: Any, target: Any) -> None:
        done.append(("rename", os.stat(source).st_ino))  # noqa: PTH116
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noting_sync)
    monkeypatch.setattr(os, "replace", noting_replace)
    with whole_file(tmp_path / "mask.nii.gz") as temporary:
        temporary.write_text("whole")
    file, folder = (tmp_path / "mask.nii.gz").stat().st_ino, tmp_path.stat().st_ino
    assert done == [("sync", file), ("rename", file), ("sync", folder)]


@pytest.mark.parametrize("name", ["x" * 248 + ".nii.gz", "ü" * 125 + ".json", "y" * 255, "z" * 100 + "." + "s" * 100])
def test_a_name_as_long_as_the_file_system_takes_is_written(name: str, tmp_path: Path) -> None:
    with whole_file(tmp_path / name) as temporary:
        assert temporary.name.endswith((".nii.gz", ".json")) == name.endswith((".nii.gz", ".json"))
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_longer_name_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"), whole_file(tmp_path / ("x" * 256)) as temporary:
        temporary.write_text("whole")
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_fails_leaves_the_older_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("older")
    with pytest.raises(UnicodeEncodeError), whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("half ü", encoding="ascii")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "older")]

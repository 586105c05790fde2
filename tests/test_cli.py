from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.data.phantoms import make_phantom, write_phantom_dicom

HIPPOCAMPUS = "hippocampus_mr_segmentation"


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", HIPPOCAMPUS, "--data", ".", "--epocs", "3"], "unknown argument --epocs. Did you mean --epochs?"),
        (["segmnt", "x"], "invalid choice: 'segmnt'"),
        (["segment", "x", "--bundle", HIPPOCAMPUS], "arguments are required: -o/--output"),
        (["train", HIPPOCAMPUS, "--data", ".", "--epochs", "many"], "invalid int value: 'many'"),
        (["segment", "absent.nii.gz", "--bundle", HIPPOCAMPUS, "-o", "out"], "absent.nii.gz: no such file or folder"),
        (["segment", ".", "--bundle", "hipocampus_mr_segmentation", "-o", "out"], f"Did you mean {HIPPOCAMPUS}?"),
        (["segment", ".", "--bundle", HIPPOCAMPUS, "-o", "out"], "holds no image"),
        (["evaluate", HIPPOCAMPUS, "--data", ".", "-o", "out"], "holds no labelled data set"),
        (["train", HIPPOCAMPUS, "--data", ".", "-o", "out"], "holds no labelled data set"),
        (["inspect", "absent"], "absent: no such file or folder"),
        (["inspect", "."], "holds no image"),
        (["build", "."], "is not a bundle"),
        (["verify", "absent"], "no such bundle"),
    ],
)
def test_a_mistake_is_answered_in_one_line_with_exit_status_1(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    assert message in _error(capsys)
    assert list(tmp_path.iterdir()) == []


def test_help_needs_none_of_the_heavy_packages() -> None:
    code = (
        "import sys\nfrom pipeline.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'monai', 'numpy', 'pydicom', 'rich'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
    for verb in ("segment", "train", "evaluate", "inspect", "build", "verify", "demo"):
        assert verb in run.stdout


def test_inspect_lists_each_series_and_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_phantom_dicom(make_phantom(1, shape=(12, 10, 6)), tmp_path / "good")
    gap = write_phantom_dicom(make_phantom(2, shape=(12, 10, 6)), tmp_path / "gap")
    positions = {file: _position(file) for file in gap.iterdir()}
    sorted(positions, key=lambda file: positions[file])[2].unlink()
    (tmp_path / "broken.nii.gz").write_bytes(b"not a volume")
    assert main(["inspect", str(tmp_path), "--json"]) == 0
    found = {one["path"]: one for one in json.loads(capsys.readouterr().out)}
    assert found[good.name]["size"] == [12, 10, 6]
    assert found[good.name]["spacing_mm"] == pytest.approx([2, 2, 3])
    assert found[good.name]["problem"] is None
    assert "6.000 mm" in found[gap.name]["problem"]
    assert "cannot be read" in found["broken.nii.gz"]["problem"]
    assert main(["inspect", str(tmp_path)]) == 0
    assert "3 found, 2 cannot be used" in capsys.readouterr().out


def _position(file: Path) -> float:
    import pydicom

    return float(pydicom.dcmread(file).ImagePositionPatient[2])


def test_inspect_never_shows_the_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pydicom

    folder = write_phantom_dicom(make_phantom(1, shape=(8, 8, 4)), tmp_path / "series")
    for number, file in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(file)
        dataset.PatientName, dataset.PatientID = f"Canary^{number // 2}", f"CANARYID{number // 2}"
        dataset.save_as(file)
    assert main(["inspect", str(tmp_path)]) == 0
    assert main(["segment", str(folder), "--bundle", HIPPOCAMPUS, "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "canary" not in (said.out + said.err).lower()
    assert "patient" in said.err


def test_every_sarcoma_series_is_listed(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(shared_data / "STS_Sarcoma"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    counts = {modality: sum(one["modality"] == modality for one in found) for modality in ("MR", "CT", "PT")}
    assert counts == {"MR": 24, "CT": 6, "PT": 4}, "as the data's own README counts them"
    assert [one for one in found if one["problem"]] == []


def test_a_study_with_several_series_asks_for_one(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    study.mkdir()
    for series in ("CT", "MR_T1"):
        for number, file in enumerate(sorted((shared_data / "STS_Sarcoma/STS_001" / series / "image").iterdir())):
            (study / f"{series}{number}.dcm").symlink_to(file)
    assert main(["segment", str(study), "--bundle", HIPPOCAMPUS, "-o", str(tmp_path / "out")]) == 1
    line = _error(capsys)
    assert "2 image series" in line
    assert "--series" in line
    assert "CT 198 x 202 x 59" in line

"""A case is read ahead and one is written behind while one is computed: nothing but the clock may tell."""

from __future__ import annotations

import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, MetaTensor
from monai.inferers import SimpleInferer
from monai.transforms import Compose

from pipeline import memory
from pipeline.bundle import run_workflow
from pipeline.bundle.applying import open_inference
from pipeline.data import CaseFailures, CaseThreads, SurvivingCases, ahead
from pipeline.data.ahead import FitsAhead
from pipeline.errors import InputError
from pipeline.handlers import CaseEvaluator
from pipeline.transforms import WriteBehind
from pipeline.workflows.segment import segment

NAMES = ["a", "b", "c", "d", "e"]
WAIT_S = 20.0


class Run:
    """Five cases, of which each step can be made to fail or to wait; notes what happens in which thread."""

    def __init__(self, names: list[str] = NAMES, *, fits: Callable[[dict[str, Any]], bool] | None = None) -> None:
        self.names = names
        self.fits = fits
        self.events: list[tuple[str, str]] = []
        self.threads: dict[tuple[str, str], str] = {}
        self.failing: set[tuple[str, str]] = set()
        self.before: Callable[[str, str], None] = lambda *_: None
        self.written: dict[str, float] = {}
        self.failures = CaseFailures()

    def note(self, step: str, name: str) -> None:
        self.threads[step, name] = threading.current_thread().name
        self.events.append((step, name))
        self.before(step, name)
        if (step, name) in self.failing:
            raise InputError(f"cannot {step}", where=name)

    def read(self, case: dict[str, Any]) -> dict[str, Any]:
        self.note("read", case["name"])
        image = MetaTensor(torch.full((1, 2, 2, 2), float(self.names.index(case["name"]))))
        image.meta["case"] = case["name"]
        self.events.append(("has read", case["name"]))
        return {**case, "image": image}

    def compute(self, image: torch.Tensor) -> torch.Tensor:
        name = self.names[int(image.max())]
        self.note("compute", name)
        self.events.append(("has computed", name))
        return image * 2

    def write(self, data: dict[str, Any]) -> None:
        name = data["name"]
        assert data["image"].meta["case"] == name
        self.note("write", name)
        self.written[name] = float(data["pred"].max())
        self.events.append(("has written", name))

    def __call__(self) -> CaseFailures:
        cases = [{"name": name, "image": name} for name in self.names]
        threads = CaseThreads(cases=cases, failures=self.failures, fits=self.fits)
        dataset = SurvivingCases(data=cases, transform=self.read, failures=self.failures, case_threads=threads)
        evaluator = CaseEvaluator(
            failures=self.failures,
            case_threads=threads,
            device=torch.device("cpu"),
            val_data_loader=DataLoader(dataset, batch_size=1, num_workers=0),
            network=torch.nn.Identity(),
            inferer=_Inferer(self.compute),
            postprocessing=Compose([WriteBehind(transform=self.write, case_threads=threads)]),
        )
        evaluator.run()
        return self.failures

    def order(self, step: str) -> list[str]:
        return [name for one, name in self.events if one == step]


class _Inferer(SimpleInferer):
    def __init__(self, compute: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.compute = compute

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self.compute(inputs)


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def test_each_step_keeps_the_order_of_the_cases() -> None:
    run = Run()
    assert run().reasons == {}
    for step in ("read", "compute", "write"):
        assert run.order(step) == NAMES
    assert run.written == {name: 2.0 * number for number, name in enumerate(NAMES)}


def test_reading_and_writing_go_on_while_a_case_is_computed() -> None:
    run = Run()

    def before(step: str, name: str) -> None:
        if (step, name) == ("compute", "b"):  # a run in sequence would wait here in vain
            _until(lambda: {("has read", "c"), ("has written", "a")} <= set(run.events))

    run.before = before
    assert run().reasons == {}
    main = threading.current_thread().name
    assert {run.threads["compute", name] for name in NAMES} == {main}
    assert main not in {run.threads[step, name] for step in ("read", "write") for name in NAMES[1:]}


def test_one_image_is_read_ahead_and_no_more() -> None:
    run = Run()
    ahead_of: list[int] = []

    def before(step: str, name: str) -> None:
        if step == "compute":
            if name != NAMES[-1]:
                _until(lambda: len(run.order("has read")) >= NAMES.index(name) + 2)
            time.sleep(0.05)  # long enough for another one to begin
            ahead_of.append(len(run.order("read")) - 1 - NAMES.index(name))

    run.before = before
    run()
    assert ahead_of == [1, 1, 1, 1, 0]


def test_one_case_waits_to_be_written_and_no_more() -> None:
    run = Run()
    waiting: list[int] = []

    def before(step: str, name: str) -> None:
        if step == "write":
            time.sleep(0.05)  # the network is much faster
            waiting.append(len(run.order("has computed")) - NAMES.index(name))

    run.before = before
    run()
    assert max(waiting) == 2  # the one that is being written and the one that was computed meanwhile
    assert run.order("has written") == NAMES


@pytest.mark.parametrize("step", ["read", "compute", "write"])
@pytest.mark.parametrize("name", ["a", "c", "e"])
def test_a_case_that_fails_is_recorded_and_the_others_go_on(step: str, name: str) -> None:
    run = Run()
    run.failing = {(step, name)}
    assert run().reasons == {name: f"{name}: cannot {step}"}
    assert run.order("has written") == [one for one in NAMES if one != name]
    assert run.failures.total == len(NAMES)


def test_failures_are_told_in_the_order_of_the_cases() -> None:
    run = Run()
    run.failing = {("write", "b"), ("read", "c"), ("compute", "d"), ("write", "e")}
    assert list(run().reasons.items()) == [
        ("b", "b: cannot write"),
        ("c", "c: cannot read"),
        ("d", "d: cannot compute"),
        ("e", "e: cannot write"),
    ]


@pytest.mark.parametrize("step", ["read", "compute", "write"])
def test_the_only_case_has_no_threads_and_its_error_is_the_users(step: str) -> None:
    run = Run(["a"])
    run.failing = {(step, "a")}
    with pytest.raises(InputError, match=f"^a: cannot {step}$"):
        run().finish()
    assert set(run.threads.values()) == {threading.current_thread().name}


def test_an_image_that_does_not_fit_is_read_when_the_other_is_done() -> None:
    run = Run(fits=lambda case: case["name"] != "c")
    assert run().reasons == {}
    place = run.events.index
    assert place(("read", "c")) > place(("has computed", "b"))
    assert run.threads["read", "c"] == threading.current_thread().name
    assert run.order("has written") == NAMES


def test_an_interruption_ends_the_run_and_its_threads() -> None:
    run = Run()
    count = threading.active_count()

    def before(step: str, name: str) -> None:
        if (step, name) == ("compute", "c"):
            raise KeyboardInterrupt

    run.before = before
    with pytest.raises(KeyboardInterrupt):
        run()
    assert run.order("has written") == ["a", "b"]  # and what was being written is whole
    assert "e" not in run.order("read")
    assert threading.active_count() == count


def test_filters_of_warnings_are_afterwards_what_they_were() -> None:
    run = Run()
    begun = threading.Barrier(2, timeout=WAIT_S)

    def before(step: str, name: str) -> None:
        # Two threads that change the filters leave in the order in which they came: the second restores the first's.
        if (step, name) in {("read", "c"), ("compute", "b")}:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                begun.wait()
                begun.wait()
                time.sleep(0.05 if step == "read" else 0)

    run.before = before
    filters = list(warnings.filters)
    assert run().reasons == {}
    assert list(warnings.filters) == filters


def test_the_network_keeps_its_threads_and_the_others_have_few() -> None:
    usual, run = torch.get_num_threads(), Run()
    interval, seen = sys.getswitchinterval(), dict[str, set[int]]()
    torch.set_num_threads(8)
    try:
        run.before = lambda step, _: seen.setdefault(step, set()).add(torch.get_num_threads())
        assert run().reasons == {}
        assert seen == {"read": {2}, "compute": {8}, "write": {2}}
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 8
    finally:
        torch.set_num_threads(usual)
    assert sys.getswitchinterval() == interval


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    generator = np.random.default_rng(0)
    for number in range(4):
        voxels = generator.integers(-100, 200, (20 + number, 18, 12), dtype=np.int16)
        nib.save(nib.Nifti1Image(voxels, np.diag([-2.0, 2.0, 3.0, 1.0])), folder / f"scan{number}.nii.gz")
    (folder / "scan1.nii.gz").write_bytes(b"no image")
    return folder


def _masks(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(nib.load(path).dataobj) for path in sorted(folder.iterdir())}


def test_masks_are_those_of_a_run_in_turn(bundle: Path, scans: Path, tmp_path: Path) -> None:
    done = segment(scans, bundle=bundle, output_dir=tmp_path / "overlapped")
    workflow = open_inference(
        scans,
        bundle=bundle,
        task="segmentation",
        output_dir=tmp_path / "in turn",
        series=None,
        weights=None,
        in_turn=True,
    )
    assert workflow.parser["case_threads"] == "$None"
    run_workflow(workflow, finalize=False)
    masks, expected = _masks(tmp_path / "overlapped"), _masks(tmp_path / "in turn")
    assert list(masks) == list(expected) == [f"scan{number}.nii.gz" for number in (0, 2, 3)]
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, expected[name])
    assert done.failures == workflow.parser.get_parsed_content("failures").reasons
    assert list(done.failures) == ["scan1"]


def test_relative_paths_hold_when_a_thread_changes_the_working_directory(
    bundle: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ITK does for the whole process while it loads a part of its library."""
    shutil.copytree(scans, tmp_path / "scans")
    monkeypatch.chdir(tmp_path)
    workflow = open_inference(
        Path("scans"), bundle=bundle, task="segmentation", output_dir=Path("out"), series=None, weights=None
    )
    workflow.parser["output_dir"] = "out"  # as ``monai.bundle run`` would give it
    workflow.initialize()
    workflow.parser.get_parsed_content("evaluator")
    monkeypatch.setattr(workflow, "initialize", lambda: None)  # it is done
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run_workflow(workflow, finalize=False)
    assert list(workflow.parser.get_parsed_content("failures").reasons) == ["scan1"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"scan{n}.nii.gz" for n in (0, 2, 3)]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_bundle_of_before_is_run_in_turn(bundle: Path, scans: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(bundle, tmp_path / bundle.name))
    config = old / "configs" / "inference.json"
    content = ConfigParser.load_config_file(str(config))
    del content["case_threads"]
    for part in (content["dataset"], content["evaluator"], content["postprocessing"]["transforms"][-1]):
        del part["case_threads"]
    ConfigParser.export_config_file(content, str(config), indent=1)
    done = segment(scans, bundle=old, output_dir=tmp_path / "out", max_memory_gb=64.0)
    assert list(done.failures) == ["scan1"]
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.parametrize(("name", "size"), [("a.nii.gz", (30, 20, 10)), ("a.nrrd", (30, 20, 10)), ("a.png", (30, 20))])
def test_an_image_fits_that_is_a_small_share_of_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: tuple[int, ...]
) -> None:
    import SimpleITK as sitk  # noqa: N813

    sitk.WriteImage(sitk.Image(list(size), sitk.sitkUInt8), str(tmp_path / name))
    float32 = 4 * int(np.prod(size))
    for available, fits in ((10 * float32, True), (10 * float32 - 10, False)):
        monkeypatch.setattr(ahead, "available_bytes", lambda available=available: available)
        assert FitsAhead()({"image": str(tmp_path / name)}) is fits
        assert FitsAhead(channels=2)({"image": str(tmp_path / name)}) is False


def test_an_image_without_a_header_is_left_to_its_reader(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"no image")
    assert FitsAhead()({"image": str(tmp_path / "a.nii.gz")}) is True


def test_available_memory_is_that_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  900 kB\nMemFree:  100 kB\nMemAvailable:  500 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", meminfo)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.available_bytes() == 500 * 1024
    for name, text in {
        "memory.max": "300000\n",
        "memory.current": "200000\n",
        "memory.stat": "inactive_file 50000\n",
    }.items():
        (tmp_path / name).write_text(text)
    assert memory.available_bytes() == 150000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes() == 500 * 1024
    meminfo.unlink()
    assert memory.available_bytes() == 2e9

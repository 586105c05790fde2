"""The engines of inference against plain torch, and the choice among them."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer, SlidingWindowInferer
from monai.networks.nets import DynUNet

from pipeline.errors import InputError
from pipeline.inferers import FastestInferer, MirroredInferer, StreamingInferer, bf16_is_fast, fastest, measured
from pipeline.inferers.engines import ENGINES
from pipeline.inferers.measured import Measured, recall, remember, setting_key
from pipeline.planning.forecast import Probe
from pipeline.planning.sections import Engine

CPU = torch.device("cpu")
TORCH = [name for name in ENGINES if name != "openvino"]
# bfloat16 rounds to 8 bits; some 9 layers of a small network with instance norm keep the relative error below this.
HALF = 0.1


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(measured, "cache_file", lambda: tmp_path / "cache" / "engines.json")
    return tmp_path / "cache" / "engines.json"


@pytest.fixture
def openvino() -> None:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed: it has no light wheel for each system")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, logger="pipeline.inferers")
    return lambda: [record.getMessage() for record in caplog.records if "engine" in record.getMessage()]


def _network(out_channels: int = 3) -> torch.nn.Module:
    torch.manual_seed(0)
    norm = ("INSTANCE", {"affine": True})
    return DynUNet(3, 1, out_channels, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 8], norm_name=norm).eval()


def _image(size: tuple[int, ...] = (24, 20, 16)) -> torch.Tensor:
    return torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(1))


def _windows() -> SlidingWindowInferer:
    return SlidingWindowInferer(roi_size=(16, 16, 16), sw_batch_size=3, overlap=0.5, mode="gaussian")


def _limit(name: str, expected: torch.Tensor) -> float:
    half = name.startswith("bfloat16") or (name == "openvino" and bf16_is_fast(CPU))
    return (HALF if half else 1e-4) * float(expected.abs().max())


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    "inner",
    [SimpleInferer(), _windows(), MirroredInferer(_windows(), axes=[0, 2])],
    ids=["whole", "windows", "mirrored windows"],
)
@torch.no_grad()
def test_each_engine_gives_the_logits_of_plain_torch(name: str, inner: Inferer, request: Any) -> None:
    if name == "openvino":
        request.getfixturevalue("openvino")
    network, image = _network(), _image((16, 16, 16) if isinstance(inner, SimpleInferer) else (24, 20, 16))
    expected = inner(image, network)
    result = FastestInferer(inner, engine=name)(image, network)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected, rtol=0, atol=_limit(name, expected))
    torch.testing.assert_close(FastestInferer(inner, engine=name)(image, network), result, rtol=0, atol=0)
    sure = (expected.topk(2, dim=1).values * torch.tensor([1.0, -1.0]).view(1, 2, 1, 1, 1)).sum(1) > 2 * _limit(
        name, expected
    )
    assert sure.any()
    assert torch.equal(result.argmax(1)[sure], expected.argmax(1)[sure])


@pytest.mark.parametrize("name", ["float32-channels-last", "openvino"])
def test_pictures_and_their_metadata(name: str, request: Any) -> None:
    if name == "openvino":
        request.getfixturevalue("openvino")
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 1)).eval()
    picture = MetaTensor(torch.rand(2, 1, 12, 9), affine=torch.diag(torch.tensor([2.0, 3.0, 1.0])), meta={"a": 1})
    inferer = FastestInferer(SimpleInferer(), engine=name)
    with torch.no_grad():
        expected, result = network(picture), inferer(picture, network)
        for size in ((1, 1, 9, 9), (3, 1, 12, 9), (1, 1, 5, 7)):  # each compiled anew, or again
            assert inferer(torch.zeros(size), network).shape == (size[0], 2, *size[2:])
    torch.testing.assert_close(result.as_tensor(), expected.as_tensor(), rtol=0, atol=_limit(name, expected))
    assert isinstance(result, MetaTensor)
    assert result.meta["a"] == expected.meta["a"]
    torch.testing.assert_close(result.affine, expected.affine)


def test_labels_of_streaming_windows_do_not_depend_on_the_place_of_the_engine() -> None:
    network, image = _network(), _image()
    layout = {"roi_size": (16, 16, 16), "out_channels": 3, "overlap": 0.5, "mode": "gaussian"}
    plain = StreamingInferer(**layout)(image, network)
    around = FastestInferer(StreamingInferer(**layout), engine="float32")(image, network)
    inside = StreamingInferer(**layout, inferer=FastestInferer(SimpleInferer(), engine="float32"))(image, network)
    assert torch.equal(plain, around)
    assert torch.equal(plain, inside)


def test_the_plan_knows_the_same_engines() -> None:
    assert get_args(Engine) == ("auto", *ENGINES)


@pytest.mark.parametrize("native", [False, True])
def test_the_rule_asks_the_processor_and_says_so(
    native: bool, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr("pipeline.inferers.engines.bf16_is_fast", lambda device: native)
    seen: list[bool] = []

    def network(batch: torch.Tensor) -> torch.Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return batch

    inferer = FastestInferer(SimpleInferer())
    for size in ((1, 1, 2, 2, 2), (1, 1, 2, 2, 2)):
        inferer(torch.ones(size), network)
    assert seen == [native] * 2
    assert said() == [f"engine {'bfloat16' if native else 'float32'}, by the rule"]


def test_an_engine_that_is_not_installed_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.inferers.engines.openvino_is_installed", lambda: False)
    with pytest.raises(InputError) as caught:
        FastestInferer(SimpleInferer(), engine="openvino")
    assert str(caught.value) == "engine openvino: OpenVINO is not installed. pip install 'medbundle[openvino]'"
    with pytest.raises(InputError, match=r"no such engine \(expected auto or one of float32, .*got float16\)"):
        FastestInferer(SimpleInferer(), engine="float16")
    monkeypatch.setattr("pipeline.inferers.fastest._WINDOWS", 1)
    monkeypatch.setattr("pipeline.inferers.fastest._SECONDS", 0)
    with torch.no_grad():  # nor is it measured
        FastestInferer(_windows())(_image(), _network())


def test_a_network_that_openvino_cannot_read_is_run_by_torch(openvino: None, said: Callable[[], list[str]]) -> None:
    class Odd(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            if torch.jit.is_tracing():
                raise RuntimeError("cannot be traced")
            return batch * 2

    image = torch.ones(1, 1, 4, 4)
    for network in (lambda batch: batch * 2, Odd().train()):
        assert torch.equal(FastestInferer(SimpleInferer(), engine="openvino")(image, network), image * 2)
    assert any("as OpenVINO cannot be used: the network is no torch.nn.Module" in line for line in said())
    assert any("the network is in training mode" in line for line in said())
    inferer, odd = FastestInferer(SimpleInferer(), engine="openvino"), Odd().eval()
    before = len(said())
    for _ in range(2):
        assert torch.equal(inferer(image, odd), image * 2)
    first, second = said()[before:]  # once, and not anew for each case
    assert first == "engine openvino, as asked for"
    assert "as OpenVINO cannot run this network: " in second


def test_the_memory_of_openvino_is_told_by_a_probe(openvino: None, said: Callable[[], list[str]]) -> None:
    network = _network()
    inferer = FastestInferer(StreamingInferer(roi_size=(16, 16, 16), out_channels=3), engine="openvino")
    assert Probe.of(inferer, network, channels=1, device=CPU).window_seconds > 0
    assert said() == ["engine openvino, as asked for"]


def test_new_weights_are_compiled_anew(openvino: None) -> None:
    network = torch.nn.Conv2d(1, 1, 1, bias=False).eval()
    inferer = FastestInferer(SimpleInferer(), engine="openvino")
    for weight in (2.0, 3.0):
        network.load_state_dict({"weight": torch.full((1, 1, 1, 1), weight)})
        with torch.no_grad():
            assert inferer(torch.ones(1, 1, 2, 2), network).unique().tolist() == [weight]


def test_openvino_tells_nobody_that_it_is_used(openvino: None, tmp_path: Path) -> None:
    code = (
        "import sys, torch; from pipeline.inferers import FastestInferer; from monai.inferers import SimpleInferer\n"
        "FastestInferer(SimpleInferer(), engine='openvino')(torch.ones(1, 1, 4, 4), torch.nn.Conv2d(1, 1, 1).eval())\n"
        "print([name for name, one in sys.modules.items() if name.startswith('openvino_telemetry') and one],"
        "'openvino' in sys.modules)"
    )
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **home}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "[] True"
    assert not (tmp_path / "intel").exists()


def test_an_interrupt_is_one_after_openvino_too(openvino: None) -> None:
    code = (
        "import gc, signal, torch\n"
        "from pipeline.inferers import FastestInferer; from monai.inferers import SimpleInferer\n"
        "kept = []\n"
        "for _ in range(4):\n"
        "    kept = [*kept[-1:], FastestInferer(SimpleInferer(), engine='openvino')]\n"
        "    kept[-1](torch.ones(1, 1, 4, 4), torch.nn.Conv2d(1, 1, 1).eval())\n"
        "kept.clear(); gc.collect(); blocks = [bytearray(2**14) for _ in range(1000)]\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout.splitlines()[-1:], done.returncode) == (["interrupted"], 0), done.stderr


class _Engines:
    """Stands in for the engines: each adds its own disturbance to the logits, and takes the time that it is told to."""

    def __init__(self, seconds: dict[str, float], wrong: dict[str, Callable[[torch.Tensor], torch.Tensor]]) -> None:
        self.seconds = seconds
        self.wrong = wrong
        self.clock = 0.0
        self.used: list[str] = []

    def make(self, name: str, network: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def run(batch: torch.Tensor) -> torch.Tensor:
            self.clock += self.seconds[name] * len(batch)
            self.used.append(name)
            return self.wrong.get(name, lambda logits: logits)(network(batch))

        return run


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> _Engines:
    stand_in = _Engines(dict.fromkeys(ENGINES, 4.0), {})
    monkeypatch.setattr(measured, "make_engine", stand_in.make)
    monkeypatch.setattr(fastest, "make_engine", stand_in.make)
    monkeypatch.setattr(fastest, "candidates", lambda network, device: list(ENGINES))
    monkeypatch.setattr(fastest, "engine_by_rule", lambda device: "bfloat16")
    monkeypatch.setattr(measured, "time", SimpleNamespace(perf_counter=lambda: stand_in.clock))
    monkeypatch.setattr(fastest, "openvino_problem", lambda network, device: None)
    return stand_in


_LARGE = (48, 40, 32)  # 5 x 4 x 3 windows


def _small(out_channels: int = 3) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Conv3d(1, out_channels, 1).eval()


def _labels(inferer: FastestInferer, network: torch.nn.Module, size: tuple[int, ...] = _LARGE) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = inferer(_image(size), network)
    return result


def test_the_engine_that_finishes_first_is_taken_and_remembered(
    engines: _Engines, said: Callable[[], list[str]]
) -> None:
    engines.seconds |= {"bfloat16": 2.0, "openvino": 1.0}
    network = _small()
    _labels(FastestInferer(_windows()), network)
    line = said()[-1]
    assert line.startswith("engine openvino, measured for 60 windows of: float32 4 s, bfloat16 2 s, ")
    assert engines.used[-1] == "openvino"
    engines.used.clear()
    _labels(FastestInferer(_windows()), network)
    assert set(engines.used) == {"openvino"}
    assert said()[-1] == line.replace("measured", "measured in an earlier run")
    with torch.no_grad():  # other weights may give other labels
        next(network.parameters()).add_(1)
    engines.used.clear()
    _labels(FastestInferer(_windows()), network)
    assert set(engines.used) == set(ENGINES)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda logits: logits * math.nan, "0.00 % of the labels"),
        (lambda logits: logits.roll(1, dims=1), "% of the labels"),
    ],
    ids=["NaN", "other labels"],
)
def test_an_engine_with_other_labels_is_refused(
    engines: _Engines, said: Callable[[], list[str]], wrong: Any, reason: str
) -> None:
    engines.seconds |= {"bfloat16": 2.0, "openvino": 1.0}
    engines.wrong = {"openvino": wrong}
    _labels(FastestInferer(_windows()), _small())
    assert engines.used[-1] == "bfloat16"
    assert said()[-1].startswith("engine bfloat16, ")
    assert f"{reason})" in said()[-1].split("openvino 1 s (refused: ")[1]
    engines.wrong |= {"bfloat16": wrong}
    _labels(FastestInferer(_windows()), _small(4))  # even the rule's
    assert engines.used[-1].startswith("float32")


def test_a_gain_too_small_to_be_more_than_noise_changes_nothing(engines: _Engines) -> None:
    engines.seconds |= {"bfloat16": 2.0, "openvino": 1.9}
    _labels(FastestInferer(_windows()), _small())
    assert engines.used[-1] == "bfloat16"


def test_small_cases_are_not_measured(engines: _Engines, cache: Path, said: Callable[[], list[str]]) -> None:
    _labels(FastestInferer(_windows()), _small(), (24, 20, 16))
    assert set(engines.used) == {"bfloat16"}
    engines.seconds["bfloat16"] = 0.4  # 60 windows of which take 24 seconds
    _labels(FastestInferer(_windows()), _small())
    assert set(engines.used) == {"bfloat16"}
    _labels(FastestInferer(MirroredInferer(_windows(), axes=[0]), measure=False), _small())
    assert set(engines.used) == {"bfloat16"}
    assert not cache.exists()
    _labels(FastestInferer(MirroredInferer(_windows(), axes=[0])), _small())  # twice as many
    assert set(engines.used) == set(ENGINES)
    assert [line.split(":")[0] for line in said()][:2] == ["engine bfloat16, by the rule"] * 2


def test_an_engine_that_fails_is_left_out(engines: _Engines, said: Callable[[], list[str]]) -> None:
    def fails(logits: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("cannot convert\naten::odd")

    engines.wrong = {"openvino": fails}
    _labels(FastestInferer(_windows()), _small())
    assert "engine openvino cannot run this network: RuntimeError: cannot convert" in said()
    assert "openvino cannot run it" in said()[-1]


@pytest.mark.parametrize(
    "inner",
    [
        SimpleInferer(),
        MirroredInferer(_windows(), axes=[0, 2]),
        StreamingInferer(
            roi_size=(16, 16, 16), out_channels=1, overlap=0.5, inferer=MirroredInferer(SimpleInferer(), axes=[1])
        ),
    ],
    ids=["whole", "mirrored windows", "streaming"],
)
def test_as_many_windows_are_counted_as_the_network_sees(inner: Inferer) -> None:
    seen: list[int] = []

    def network(batch: torch.Tensor) -> torch.Tensor:
        seen.append(len(batch))
        return batch

    image = _image(_LARGE)
    inner(image, network)
    window, count = fastest._middle(FastestInferer(inner), image)
    assert count == sum(seen)
    assert window.shape[2:] == (_LARGE if isinstance(inner, SimpleInferer) else (16, 16, 16))


FIGURES = {"float32": Measured(seconds=2.0, start=0.0, agreement=1.0)}


def test_figures_come_back_as_they_were(cache: Path) -> None:
    assert recall("a") is None
    assert remember("a", FIGURES)
    assert remember("b", {})
    assert recall("a") == FIGURES
    assert set(json.loads(cache.read_text())) == {"a", "b"}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"a": 1}', '{"a": {"float32": 1}}', '{"a": {"float32": {"seconds": "x"}}}', "\x00",
     '{"a": {"float32": {"seconds": NaN, "start": 0, "agreement": 1}}}'],
)  # fmt: skip
def test_a_corrupt_cache_is_as_good_as_none(cache: Path, content: str) -> None:
    cache.parent.mkdir()
    cache.write_bytes(content.encode() + (b"\xff" if content == "\x00" else b""))
    assert recall("a") is None
    assert remember("a", FIGURES)
    assert recall("a") == FIGURES


def test_a_cache_that_cannot_be_written_ends_no_run(engines: _Engines, cache: Path) -> None:
    cache.parent.write_text("a file in the folder's place")
    assert not remember("a", FIGURES)
    engines.seconds |= {"openvino": 1.0}
    _labels(FastestInferer(_windows()), _small())
    assert engines.used[-1] == "openvino"


def test_figures_are_of_a_network_its_weights_and_its_window() -> None:
    network = _small()
    key = setting_key(network, (1, 1, 16, 16, 16))
    assert setting_key(_small(), (1, 1, 16, 16, 16)) == key
    assert setting_key(network, (1, 1, 16, 16, 32)) != key
    assert setting_key(_small(4), (1, 1, 16, 16, 16)) != key
    with torch.no_grad():
        next(network.parameters())[0] += 1e-3
    assert setting_key(network, (1, 1, 16, 16, 16)) != key

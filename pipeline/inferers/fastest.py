"""The fastest engine that gives the same labels."""

from __future__ import annotations

import logging
import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SlidingWindowInferer

from pipeline.inferers.engines import Network, candidates, check_engine, engine_by_rule, make_engine, openvino_problem
from pipeline.inferers.measured import CANNOT_RUN, Measured, measure, recall, remember, setting_key
from pipeline.inferers.mirrored import MirroredInferer
from pipeline.inferers.streaming import StreamingInferer
from pipeline.inferers.unwrap import layers, unwrap
from pipeline.inferers.windows import Windows

__all__ = ["FastestInferer"]

logger = logging.getLogger(__name__)

# A measurement takes about as long as a dozen windows and the start of OpenVINO: cases below are done sooner without.
_WINDOWS, _SECONDS = 40, 30.0
_AGREEMENT = 0.999
_GAIN = 0.9  # of the time by the rule: below, a change is no more than noise


class FastestInferer(Inferer):  # type: ignore[misc]
    """Give another inferer the network as the fastest engine runs it, with float32 coming back.

    With ``engine="auto"`` a rule decides: bfloat16 where the processor has it, else float32. For a case of so many
    windows that it pays, the engines are measured on the window in the middle of the image instead; the one that
    finishes the case first, its start included, is taken from then on. One whose labels there are not those of float32
    for 99.9 % of the voxels, or not finite, is never taken. Figures are kept in the user's cache folder, see
    :func:`pipeline.inferers.measured.cache_file`; no image is.

    What was chosen, and why, is one line of the log. An engine that cannot run a network gives way to the rule's.

    Args:
        inferer: the inferer that calls the network; :class:`pipeline.inferers.StreamingInferer` may be it.
        engine: ``auto``, or one of :data:`pipeline.inferers.engines.ENGINES`, which is then taken unmeasured.
        measure: whether ``auto`` may measure, which takes memory that no forecast knows of; else it is the rule.

    Raises:
        InputError: an unknown engine, or one that is not installed.
    """

    def __init__(self, inferer: Inferer, *, engine: str = "auto", measure: bool = True) -> None:
        super().__init__()
        check_engine(engine)
        self.inferer = inferer
        self.engine = engine
        self.measure = measure
        self._known: tuple[Any, ...] = ()
        self._ready: dict[str, Network] = {}
        self._measured: dict[tuple[int, ...], str] = {}
        self._given_up = False
        self._said = ""

    def __call__(self, inputs: torch.Tensor, network: Network, *args: Any, **kwargs: Any) -> Any:
        """Apply the inner inferer; see MONAI's ``Inferer``."""
        self._forget_others(network)
        rule = engine_by_rule(_device(inputs, network))
        name = self._choose(inputs, network, rule)
        if name == "openvino" and not self._given_up:
            problem = "the network is given arguments" if args or kwargs else openvino_problem(network, inputs.device)
            if problem is None:
                return self.inferer(inputs, self._retreating(network, rule))
            self._say(rule, f"as OpenVINO cannot be used: {problem}")
        name = rule if name == "openvino" else name
        return self.inferer(inputs, self._made(name, network), *args, **kwargs)

    def _choose(self, inputs: torch.Tensor, network: Network, rule: str) -> str:
        if self.engine != "auto":
            self._say_as_asked_for()
            return self.engine
        device = _device(inputs, network)
        names = candidates(network, device)
        if not self.measure or len(names) == 1 or not isinstance(network, torch.nn.Module) or network.training:
            self._say(rule, "by the rule")
            return rule
        window, count = _middle(self.inferer, inputs)
        chosen = self._measured.get(tuple(window.shape))
        if chosen is None and count < _WINDOWS:
            self._say(rule, "by the rule: cases this small are done sooner without a measurement")
        elif chosen is None:
            with torch.no_grad():
                chosen = self._compare(window.to(device), count, network, rule, names)
        return rule if chosen is None else chosen

    def _compare(
        self, window: torch.Tensor, count: int, network: torch.nn.Module, rule: str, names: list[str]
    ) -> str | None:
        """The engine that finishes a case first, by its figures; None where the case is too small to look for it."""
        key = setting_key(network, window.shape)
        known = _with_all(recall(key), names)
        seconds = measure(rule, network, window)[0].seconds if known is None else known[rule].seconds
        if count * seconds < _SECONDS:
            self._say(rule, f"by the rule: cases of {count * seconds:.2g} s are done sooner without a measurement")
            return None
        figures = self._figures(window, network, names) if known is None else known
        if known is None:
            remember(key, figures)
        chosen = _first_to_finish(figures, count, rule)
        self._measured[tuple(window.shape)] = chosen
        self._ready = {name: one for name, one in self._ready.items() if name in (chosen, rule)}
        table = ", ".join(f"{name} {_text(figures[name])}" for name in names)
        when = "measured" if known is None else "measured in an earlier run"
        self._say(chosen, f"{when} for {count} windows of: {table}")
        return chosen

    def _figures(self, window: torch.Tensor, network: torch.nn.Module, names: list[str]) -> dict[str, Measured]:
        """Those of each engine; the first is float32, whose labels the others must give."""
        labels, exact, figures = _decision(self.inferer), torch.empty(0), dict[str, Measured]()
        for name in names:
            try:
                figures[name], self._ready[name], logits = measure(name, network, window)
            except Exception as error:  # noqa: BLE001 - OpenVINO may raise anything for a network that it cannot read
                logger.info("engine %s cannot run this network: %s", name, _short(error))
                figures[name] = CANNOT_RUN
                continue
            given = labels(logits)
            exact = given if name == names[0] else exact
            same = float((given == exact).float().mean()) if given.shape == exact.shape else 0.0
            figures[name] = replace(figures[name], agreement=figures[name].agreement * same)
        return figures

    def _retreating(self, network: Network, rule: str) -> Network:
        """OpenVINO, and the rule's engine from where OpenVINO fails: it cannot read each network."""

        def run(batch: torch.Tensor) -> Any:
            if not self._given_up:
                try:
                    return self._made("openvino", network)(batch)
                except Exception as error:  # noqa: BLE001 - as above; what is wrong with the input, torch says as well
                    self._say(rule, f"as OpenVINO cannot run this network: {_short(error)}")
                    self._given_up = True
                    del self._ready["openvino"]
            return self._made(rule, network)(batch)

        return run

    def _made(self, name: str, network: Network) -> Network:
        if name not in self._ready:
            self._ready[name] = make_engine(name, network)
        return self._ready[name]

    def _forget_others(self, network: Network) -> None:
        """What is compiled holds weights: it goes as soon as the network, or one of its weights, is another."""
        tensors = network.state_dict().values() if isinstance(network, torch.nn.Module) else ()
        known = (network, [(one.data_ptr(), 0 if one.is_inference() else one._version) for one in tensors])
        if not self._known or self._known[0] is not network or self._known[1] != known[1]:
            self._known, self._ready, self._measured, self._given_up = known, {}, {}, False

    def _say_as_asked_for(self) -> None:
        if not self._given_up:
            self._say(self.engine, "as asked for")

    def _say(self, name: str, why: str) -> None:
        text = f"engine {name}, {why}"
        if text != self._said:
            logger.info("%s", text)
            self._said = text


def _device(inputs: torch.Tensor, network: Network) -> torch.device:
    weight = next(network.parameters(), inputs) if isinstance(network, torch.nn.Module) else inputs
    return weight.device


def _middle(inferer: Any, inputs: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The window (1, C, X, Y[, Z]) nearest to the first image's centre, and how many the network sees, at most."""
    passes = math.prod(2 ** len(one.axes) for one in layers(inferer) if isinstance(one, MirroredInferer))
    layout = _layout(inferer)
    plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
    if layout is None:
        return plain[:1], len(plain) * passes
    windows = Windows.of(plain.shape[2:], **{**layout, "mode": "constant", "sigma_scale": 0.125})
    middle = [(whole - size) / 2 for whole, size in zip(windows.image_size, windows.size, strict=True)]
    start = min(windows.starts, key=lambda one: math.dist(one, middle))
    window = windows.pad(windows.read(plain[0], start), start)
    return window[None], len(plain) * len(windows.starts) * passes


def _layout(inferer: Any) -> dict[str, Any] | None:
    """How the windows lie, in the terms of MONAI's ``SlidingWindowInferer``; None where the network sees it all."""
    streaming = unwrap(inferer, StreamingInferer)
    if streaming is not None:
        return streaming.layout
    sliding = unwrap(inferer, SlidingWindowInferer)
    names = ("roi_size", "overlap", "padding_mode", "cval")
    return None if sliding is None else {name: getattr(sliding, name) for name in names}


def _decision(inferer: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """How the inferer makes labels of logits (1, K, ...): by its own rule, else argmax, of one channel the sign."""
    streaming = unwrap(inferer, StreamingInferer)

    def labels(logits: torch.Tensor) -> torch.Tensor:
        if streaming is None:
            return logits.argmax(dim=1) if logits.shape[1] > 1 else logits > 0
        streaming.decision.begin()
        streaming.decision.show(range(len(logits[0])), logits[0])
        decided: torch.Tensor = streaming.decision.labels()
        return decided

    return labels


def _with_all(figures: dict[str, Measured] | None, names: list[str]) -> dict[str, Measured] | None:
    return figures if figures is not None and figures.keys() >= set(names) else None


def _first_to_finish(figures: Mapping[str, Measured], count: int, rule: str) -> str:
    totals = {name: one.start + count * one.seconds for name, one in figures.items() if one.agreement >= _AGREEMENT}
    best = min(totals, key=lambda name: totals[name], default="float32")
    return rule if rule in totals and totals[best] > _GAIN * totals[rule] else best


def _text(one: Measured) -> str:
    if one == CANNOT_RUN:
        return "cannot run it"
    refused = "" if one.agreement >= _AGREEMENT else f" (refused: {100 * one.agreement:.2f} % of the labels)"
    return f"{one.seconds:.3g} s{refused}"


def _short(error: Exception) -> str:
    """The first line of an error: further ones of torch's tracing show voxels."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return textwrap.shorten(f"{type(error).__name__}: {lines[0]}", 120, placeholder=" ...")

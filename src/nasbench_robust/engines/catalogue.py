"""The engines that there are, one row each; help, documentation, dispatch and errors read this table."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._door import resolve
from ..errors import InvalidValueError, MissingDataError, UnknownNameError
from ..settings import TrainingSettings
from .engine import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineRow:
    """One engine.

    Attributes
    ----------
    name : str
        What it is asked for by, and what the rows of its runs say.
    make : str or callable
        From this row to an `Engine`, or ``"room.file:function"``.
    path : str
        How images pass through the network, one of `networks.PATHS`; "" for an engine with networks of its own.
    precision : str
        Of convolutions in attacks of training and in updates: ``"fp32"``, ``"tf32"``, which is float32 with operands of
        ten bits, on GPUs, or ``"bf16"``; accuracies are always measured in float32.
    graph : bool
        Whether a step is one CUDA graph.
    use : str
        When to use it.
    evidence : str
        How it was shown to give what the published network gives.
    """

    name: str
    make: str | Callable[[Any], Engine]
    path: str
    precision: str
    graph: bool
    use: str
    evidence: str


_TORCH = "engines.torch.engine:TorchEngine"
_FOLDED = "networks, gradients and whole trainings equal to those of torch in float64"
_BFLOAT16 = "another method: accuracies of 12 digits cells x 3 seeds within the noise of seeds"
_ROWS = (
    EngineRow(
        name="native",
        make="engines.native.engine:NativeEngine",
        path="",
        precision="fp32",
        graph=False,
        use="small networks on a CPU, many times faster than torch",
        evidence="passes and gradients equal to torch; accuracies of 12 digits cells x 64 seeds within noise",
    ),
    EngineRow("torch", _TORCH, "plain", "fp32", False, "any network anywhere", "the network as published, as it is"),
    EngineRow("torch-fast", _TORCH, "fast", "fp32", False, "large networks, on a CPU or a GPU", _FOLDED),
    EngineRow("torch-fast-bf16", _TORCH, "fast-bf16", "bf16", False, "where float32 is too slow", _BFLOAT16),
    EngineRow(
        *("torch-fast-graph", _TORCH, "fast", "fp32", True),
        use="a GPU: one launch a step",
        evidence="recorded steps played back on a CPU, equal to the last bit",
    ),
    EngineRow(
        *("torch-fast-tf32-graph", _TORCH, "fast", "tf32", True),
        use="a GPU, to train as torch does there if nobody asks for float32",
        evidence="torch-fast-graph with another rounding; its accuracies were not compared",
    ),
    EngineRow(
        *("torch-fast-bf16-graph", _TORCH, "fast-bf16", "bf16", True),
        use="a GPU, where float32 is too slow",
        evidence=f"as torch-fast-graph; {_BFLOAT16}",
    ),
)
ENGINES: dict[str, EngineRow] = {row.name: row for row in _ROWS}
AUTO = "auto"


def engine_names() -> tuple[str, ...]:
    """Return what a run may be asked to be made by: ``"auto"`` and the names of all engines."""
    return (AUTO, *ENGINES)


def engine_named(name: str) -> Engine:
    """Return an engine; an unknown name raises `UnknownNameError`."""
    if name not in ENGINES:
        raise UnknownNameError("engine", name, engine_names())
    row = ENGINES[name]
    made: Engine = resolve(row.make)(row)
    return made


def choose_engine(name: str, settings: TrainingSettings, device: str = "cpu", threads: int = 1) -> str:
    """Return the engine for a run: one of `ENGINES`.

    Parameters
    ----------
    name : str
        One of them, or ``"auto"``: native on a CPU where the package was built with it, for images of up to 32x32;
        else torch-fast, which gives what torch gives up to rounding, on a GPU as graphs.
    settings : TrainingSettings
        How cells are to be trained.
    device : str
        Where.
    threads : int
        How many CPU threads there are to use.

    Raises
    ------
    UnknownNameError, InvalidValueError, MissingDataError
        If there is no engine of that name, or it cannot do this, or is not in this installation.
    """
    if name == AUTO:
        able = [each for each in map(engine_named, ENGINES) if each.refuses(settings, device) is None]
        affinities = {each.name: each.affinity(settings, device, threads) for each in able}
        best = max(affinities, key=affinities.__getitem__)
        for absent in (name for name, affinity in affinities.items() if affinity < 0):
            log.warning("%s; %s does the work instead, more slowly", _absence(absent), best)
        return best
    chosen = engine_named(name)
    instead = chosen.refuses(settings, device)
    if instead is not None:
        raise InvalidValueError("engine", name, instead, instead.partition(" ")[0])
    if chosen.affinity(settings, device, threads) < 0:
        raise MissingDataError(*_absence(name).split("; "))
    return name


def _absence(name: str) -> str:
    """Return what is said of an engine that is not in this installation, and what to do about it."""
    return f"this installation has no {name} engine; install a C++ compiler and nasbench-robust again, or use torch"

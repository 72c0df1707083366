"""A pretend CUDA device for machines without one: real values, computed by the CPU, under CUDA's rules.

A tensor "on cuda" is a wrapper around one of the CPU. Every operation passes through `PretendCuda`, which raises
`RuleError` where CUDA would fail: devices that mix, a generator of another device, and in a capture whatever a stream
cannot record; and where a convolution would round to TF32, or be free to take sums in any order. Where the host waits
for the device, or sends it what it has, is counted, and raises `at_work`. A captured graph does nothing until it is
replayed, as on a GPU. Not shown by it: CUDA's kernels, and any time.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda", 0)
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_consecutive", "bincount"}
WAITS |= {"repeat_interleave", "linalg_eigh", "_linalg_eigh", "_linalg_slogdet"}
DRAWS = {"uniform_", "normal_", "random_", "randint", "randperm", "rand", "randn", "bernoulli", "multinomial"}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


class RuleError(RuntimeError):
    """What CUDA would not do, or a step of training should not."""


class OnCuda(torch.Tensor):
    """A tensor that says it is on cuda. To torch's C++ it is on "meta", whose guards and queues need no driver."""

    @staticmethod
    def __new__(cls, real: torch.Tensor) -> OnCuda:
        facts = {"strides": real.stride(), "storage_offset": real.storage_offset(), "dtype": real.dtype}
        wrapper = torch.Tensor._make_wrapper_subclass(cls, real.shape, device="meta", **facts)
        wrapper.held = real
        return wrapper

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda _: CUDA)
    is_cuda = property(lambda _: True)
    is_meta = property(lambda _: False)

    def __repr__(self) -> str:
        return f"OnCuda({self.held})"

    def tolist(self) -> Any:
        torch.cuda.CUDAGraph.device.wait("tolist")
        return self.held.tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> OnCuda:
        twin = memo[id(self)] = OnCuda(self.held.clone()).requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            twin._is_param = True
        return twin

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        parts = tuple(torch.tensor(each).to(CUDA) if isinstance(each, list) else each for each in parts)
        return super().__getitem__(parts if isinstance(index, tuple) else parts[0])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuleError(f"{func} after the pretend device was removed")


class Stream:
    """A stream of the device; what it is given is done at once."""

    def __init__(self, *_: object) -> None: ...

    def wait_stream(self, _: Stream) -> None: ...


class PretendCuda(TorchDispatchMode):
    """The device: a mode of torch's dispatcher that sees every operation.

    Attributes
    ----------
    waits : Counter of str
        Where the host waited for the device or sent something to it, by operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.stream = self.main = Stream()
        self.graph: Graph | None = None  # that is being captured
        self.tf32: bool | None = False  # whether convolutions are to round their operands; None: as they like
        self._working = False
        self._warm: set[Any] = set()  # operations that a side stream has seen
        self._generators: dict[int, Any] = {}  # of the device, by address, which torch passes on under new names

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Let nothing wait for the device, or be sent to it, in a ``with`` block: the middle of a step of training."""
        self._working = True
        try:
            yield
        finally:
            self._working = False

    def wait(self, what: str) -> None:
        """Count that the host waits for the device, or raise where it must not."""
        if self.graph is not None or self._working:
            raise RuleError(f"{what} {'in a capture' if self.graph is not None else 'in the middle of a step'}")
        self.waits[what] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = asked = kwargs or {}
        name = func.overloadpacket.__name__
        given = [each for each in _leaves((args, *kwargs.values())) if isinstance(each, torch.Tensor)]
        target = kwargs.get("device")
        to_cuda = target is not None and torch.device(target).type in ("cuda", "meta")
        on_cuda = to_cuda or any(isinstance(each, OnCuda) for each in given)
        self._check_generator(func, name, on_cuda, [*args, kwargs.get("generator")])
        if not on_cuda:
            return func(*args, **kwargs)
        self._check(func, name, args, given, target, to_cuda)
        if self.graph is not None:
            self.graph.remember(given)
        elif self.stream is not self.main:
            self._warm.add(func)
        if target is not None:
            kwargs = {**kwargs, "device": "cpu"}
        out = func(*_each(_real, args), **{key: _each(_real, value) for key, value in kwargs.items()})
        stays = target is None or to_cuda
        known = {id(_real(each)): each for each in given}  # in place: what was given comes back
        result = _each(lambda each: known.get(id(each)) if id(each) in known else _wrapped(each, stays), out)
        if name == "copy_":
            result = args[0]
        if self.graph is not None:
            self.graph.record(func, args, asked, result)
        return result

    def _check_generator(self, func: Any, name: str, on_cuda: bool, arguments: list[Any]) -> None:
        generator = next((each for each in arguments if isinstance(each, torch._C.Generator)), None)
        if generator is None:
            if on_cuda and name in DRAWS:
                raise RuleError(f"{func} draws from a generator that nobody seeded")
            return
        address = generator._cdata
        if on_cuda != (address in self._generators):
            raise RuleError(f"{func}: a generator of another device than the tensor")
        if self.graph is not None and address not in self.graph.generators:
            raise RuleError(f"{func} in a capture: the graph does not know the generator")

    def _check(self, func: Any, name: str, args: Any, given: list[torch.Tensor], target: Any, to_cuda: bool) -> None:
        if self.graph is not None and func not in self._warm and name != "detach":  # which launches nothing
            raise RuleError(f"{func} is captured without a warm-up on a side stream")
        free = self.tf32 is None or "convolution" not in name or args[0].dtype != torch.float32
        if not free and (_rounds(), _varies()) != (self.tf32, False):
            raise RuleError(f"{func} {'does not round' if self.tf32 else 'rounds'} to TF32, or varies")
        if name in ("_to_copy", "copy_"):
            sides = [isinstance(each, OnCuda) for each in given]
            sides = sides if name == "copy_" else [to_cuda if target is not None else sides[0], *sides]
            if sides[0] != sides[1]:
                self.wait("a copy to the device" if sides[0] else "a copy to the host")
            return
        foreign = [each for each in given if not isinstance(each, OnCuda) and each.dim()]
        if name in INDEXED:
            indices = [each for each in args[1] if each is not None]
            if isinstance(args[0], OnCuda):
                if any(each is index for each in foreign for index in indices):
                    self.wait("a copy of an index to the device")
                foreign = [each for each in foreign if not any(each is index for index in indices)]
            masks = [each for each in indices if each.dtype in (torch.bool, torch.uint8)]
            if masks and not (name.startswith("index_put") and len(indices) == 1 and args[2].numel() == 1):
                self.wait("an index of booleans")
        if foreign:
            raise RuleError(f"{func}: tensors on cuda and on the CPU")
        if name in WAITS:
            self.wait(name)

    def make_generator(self, device: Any = "cpu") -> torch.Generator:
        """Return what ``torch.Generator(device)`` is here."""
        if torch.device(device).type != "cuda":
            return torch._C.Generator()
        made = _CudaGenerator()
        made.owner = self
        self._generators[made._cdata] = made
        return made


class _CudaGenerator(torch._C.Generator):
    owner: PretendCuda
    device = property(lambda _: CUDA)

    def clone_state(self) -> torch.Generator:
        return self.owner.make_generator("cuda").set_state(self.get_state())

    def manual_seed(self, seed: int) -> torch.Generator:
        super().manual_seed(seed)
        return self

    def get_state(self) -> torch.Tensor:
        self._outside()
        return super().get_state()

    def set_state(self, state: torch.Tensor) -> torch.Generator:
        self._outside()
        super().set_state(state)
        return self

    def _outside(self) -> None:
        if self.owner.graph is not None:
            raise RuleError("the state of a generator in a capture")


class _Meta(TorchFunctionMode):
    """To torch's C++, cuda is "meta" wherever a device is named."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor):  # of "meta" they would be empty
            place = kwargs.get("device")
            made = func(*args, **{name: value for name, value in kwargs.items() if name != "device"})
            return made if place is None else made.to(place)
        if "device" in kwargs:
            kwargs = {**kwargs, "device": _below(kwargs["device"])}
        if func is torch.Tensor.to:
            args = tuple(map(_below, args))
        return func(*args, **kwargs)


def _below(place: Any) -> Any:
    is_cuda = isinstance(place, (str, torch.device)) and torch.device(place).type == "cuda"
    return torch.device("meta") if is_cuda else place


class Graph:
    """``torch.cuda.CUDAGraph``: what is recorded, and played back with the tensors that it was recorded with."""

    device: PretendCuda  # set where the device is installed

    def __init__(self) -> None:
        self.generators: dict[int, Any] = {}
        self._tape: list[tuple[Any, ...]] = []
        self._before: dict[int, tuple[Any, Any]] = {}  # storages as they were, by address
        self._made: set[int] = set()

    def register_generator_state(self, generator: Any) -> None:
        self.generators[generator._cdata] = generator

    def remember(self, given: list[torch.Tensor]) -> None:
        """Keep what tensors hold that were there before the capture, which changes nothing."""
        for storage in map(storage_of, given):
            if storage.data_ptr() not in self._made and storage.data_ptr() not in self._before:
                self._before[storage.data_ptr()] = storage, storage.clone()

    def record(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        self._tape.append((func, args, kwargs, result))
        made = {storage_of(each).data_ptr() for each in _tensors(result)}
        self._made |= made - self._before.keys()

    @contextlib.contextmanager
    def capturing(self) -> Iterator[None]:
        states = [(each, each.get_state()) for each in self.generators.values()]
        self.device.graph = self
        try:
            yield
        finally:
            self.device.graph = None
            for storage, before in self._before.values():
                storage.copy_(before)
            for generator, state in states:
                generator.set_state(state)

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, kept in self._tape:
            given = {storage_of(each).data_ptr() for each in _tensors((args, tuple(kwargs.values())))}
            for old, new in zip(_tensors(kept), _tensors(func(*args, **kwargs)), strict=True):
                if storage_of(new).data_ptr() not in given:  # neither a view nor changed in place
                    old.held.copy_(new.held)


@contextlib.contextmanager
def installed(patch: pytest.MonkeyPatch) -> Iterator[PretendCuda]:
    """Let torch have a CUDA device in a ``with`` block."""
    device = PretendCuda()

    class Kind(type):
        def __instancecheck__(cls, each: object) -> bool:
            return isinstance(each, torch._C.Generator)

    class Generator(metaclass=Kind):
        def __new__(cls, place: Any = "cpu", **more: Any) -> Any:
            return device.make_generator(more.get("device", place))

    @contextlib.contextmanager
    def on_stream(stream: Stream) -> Iterator[None]:
        before, device.stream = device.stream, stream
        try:
            yield
        finally:
            device.stream = before

    values: dict[str, Any] = {
        **{"is_available": True, "is_initialized": True, "device_count": 1, "current_device": 0, "_lazy_init": None},
        **{"synchronize": None, "get_device_name": "a pretend GPU", "get_device_capability": (9, 0)},
        **{"max_memory_reserved": 2**20, "reset_peak_memory_stats": None, "set_sync_debug_mode": None},
        **{"empty_cache": None, "max_memory_allocated": 2**19},
    }
    for name, value in values.items():
        patch.setattr(torch.cuda, name, lambda *_, value=value, **__: value)
    patch.setattr(torch.cuda, "current_stream", lambda *_: device.stream)
    patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: device.graph is not None)
    patch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    patch.setattr(torch.cuda, "graph", lambda graph, **_: graph.capturing())
    patch.setattr(torch.cuda, "CUDAGraph", type("CUDAGraph", (Graph,), {"device": device}))
    patch.setattr(torch.cuda, "Stream", Stream)
    patch.setattr(torch.cuda, "stream", on_stream)
    patch.setattr(torch, "Generator", Generator)
    patch.setattr(_foreach_utils, "_foreach_supported_types", [*_foreach_utils._foreach_supported_types, OnCuda])
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)  # a module keeps its parameters when it moves
    try:
        with device, _Meta():
            yield device
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swaps)


def _real(each: Any) -> Any:
    return each.held if isinstance(each, OnCuda) else each


def _rounds() -> bool:
    cudnn = torch.backends.cudnn
    return cudnn.conv.fp32_precision != "ieee" if hasattr(cudnn, "conv") else cudnn.allow_tf32


def _varies() -> bool:
    return torch.backends.cudnn.benchmark or not torch.backends.cudnn.deterministic


def _wrapped(each: Any, stays: bool) -> Any:
    return OnCuda(each) if stays and isinstance(each, torch.Tensor) else each


def _tensors(values: Any) -> list[OnCuda]:
    return [each for each in _leaves([values]) if isinstance(each, OnCuda)]


def _leaves(values: Iterable[Any]) -> Iterator[Any]:
    for each in values:
        if isinstance(each, (list, tuple)):
            yield from _leaves(each)
        else:
            yield each


def _each(change: Callable[[Any], Any], values: Any) -> Any:
    if isinstance(values, (list, tuple)):
        return type(values)(_each(change, value) for value in values)
    return change(values)


def storage_of(tensor: torch.Tensor) -> Any:
    return _real(tensor).untyped_storage()

"""The compiled engine: which of its builds this processor can run, and its C functions.

The extension is built once for every instruction set that the compiler knows, each into a library of its own, so that
no instruction of a newer one can slip into the code that an older processor runs. The portable build runs everywhere
and is asked which of the others may be loaded.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

from ..checks import integer
from ..errors import InvalidValueError, MissingDataError

BUILDS = ("avx512", "avx2", "portable")  # fastest first
BUILD_VARIABLE = "NASBENCH_ROBUST_ENGINE"

_threads = integer(1, 1024)
_FLOATS = ctypes.POINTER(ctypes.c_float)
_INTS = ctypes.POINTER(ctypes.c_int32)
_NETWORK = ctypes.c_void_p
_SIGNATURES = {
    "engine_supports": (ctypes.c_int, ctypes.c_char_p),
    "engine_new": (_NETWORK, _INTS, _INTS, _FLOATS, _FLOATS),
    "engine_plan": (None, _INTS, _INTS),
    "engine_free": (None, _NETWORK),
    "engine_parameters": (ctypes.c_long, _NETWORK),
    "engine_values": (ctypes.c_long, _NETWORK),
    "engine_statistics": (ctypes.c_long, _NETWORK),
    "engine_array": (_FLOATS, _NETWORK, ctypes.c_int),
    "engine_use_threads": (None, ctypes.c_int),
    "engine_fold": (None, _NETWORK),
    "engine_pass": (None, _NETWORK, _FLOATS, ctypes.c_int, _FLOATS, _FLOATS, _FLOATS),
    "engine_tangent_kernel": (None, _NETWORK, _FLOATS, _FLOATS, ctypes.c_int, ctypes.POINTER(ctypes.c_double)),
    "engine_pgd": (
        *(None, _NETWORK, _FLOATS, _INTS, ctypes.c_int, _FLOATS),
        *(ctypes.c_float, ctypes.c_float, ctypes.c_int, _FLOATS),
    ),
    "engine_autoattack": (
        *(None, _NETWORK, _FLOATS, _INTS, ctypes.c_int, ctypes.c_float, ctypes.c_int, ctypes.c_int, ctypes.c_int),
        *(ctypes.c_uint64, ctypes.c_int, ctypes.POINTER(ctypes.c_uint8), _FLOATS),
    ),
    "engine_differentiate": (ctypes.c_double, _NETWORK, _FLOATS, _INTS, ctypes.c_int, ctypes.POINTER(ctypes.c_int)),
    "engine_update": (None, _NETWORK, ctypes.c_float, ctypes.c_float, ctypes.c_float),
    "engine_peak": (ctypes.c_double, ctypes.c_double),
}


def is_available() -> bool:
    """Return whether the package was built with the engine, for a machine like this one."""
    return _is_supported("portable")


@functools.cache
def build_name() -> str:
    """Return the build in use: the fastest that is there and that the processor can run.

    The environment variable ``NASBENCH_ROBUST_ENGINE`` names another one of `BUILDS`.
    """
    named = os.environ.get(BUILD_VARIABLE)
    usable = [name for name in BUILDS if _path(name) is not None and _is_supported(name)]
    if named is None and usable:
        return usable[0]
    if not usable:
        raise MissingDataError(
            "this installation has no native engine", "install a C++ compiler and nasbench-robust again, or use torch"
        )
    if named not in usable:
        raise InvalidValueError(BUILD_VARIABLE, named, f"one of {', '.join(usable)} on this processor", usable[0])
    return named


@functools.cache
def library() -> ctypes.CDLL:
    """Return the loaded engine; its calls release the interpreter's lock."""
    path = _path(build_name())
    assert path is not None
    return _load(path)


def use_threads(count: int) -> None:
    """Let the engine use so many threads of this process, one at first.

    Attacks and accuracies share out images, training of large ones all its parts. No number depends on it: a unit of
    work is done by one thread from beginning to end.
    """
    library().engine_use_threads(_threads("threads", count))


def peak(seconds: float = 0.1) -> float:
    """Return how many multiplications with addition a core can do with the build in use, in 10^9 a second, fp32.

    Measured for so many seconds on numbers that stay in registers; no network can be faster.
    """
    return float(library().engine_peak(seconds))


def _path(name: str) -> Path | None:
    return next(Path(__file__).parent.glob(f"_engine_{name}.*"), None)


def _is_supported(name: str) -> bool:
    portable = _path("portable")
    if portable is None:
        return False
    try:
        return bool(_load(portable).engine_supports(name.encode()))
    except (OSError, AttributeError):  # built for another kind of machine or from other sources, or damaged
        return False


@functools.cache
def _load(path: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(path))
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded

"""The command that looks at an installation: what is there, what is missing, how to get it."""

from __future__ import annotations

import argparse
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple

from ..errors import NasbenchRobustError
from ..version import __version__
from .command import Command

# What an optional package is for, and the extra that installs it.
OPTIONAL = {
    "torch": ("train", "networks, attacks, kernels and proxies; training on a GPU"),
    "pillow": ("train", "images of Parquet files and folders"),
    "tqdm": ("train", "progress bars"),
    "huggingface_hub": ("hub", "releases on the Hugging Face Hub"),
    "matplotlib": ("plots", "figures"),
    "scipy": ("plots", "intervals of the studies"),
    "scikit-learn": ("analysis", "the study of predictors"),
    "h5py": ("ntk", "kernels in files"),
    "ConfigSpace": ("optimisers", "cells as other optimisers know them"),
    "syne-tune": ("optimisers", "the table as a blackbox of syne-tune"),
    "shtab": ("completion", "completion of commands in the shell"),
}
# What pip takes for Linux by itself brings gigabytes of CUDA.
WITHOUT_CUDA = "where there is no GPU, first the CPU build of torch, which pytorch.org/get-started names"
OK, MISSING, WRONG = "ok", "missing", "WRONG"


class Finding(NamedTuple):
    """What was found about one thing."""

    state: str
    what: str
    words: str


def _doctor(_: argparse.Namespace) -> int:
    print(f"nasbench-robust {__version__}, Python {platform.python_version()}, {platform.platform()}")
    findings = [*_table(), _engine(), _torch(), *_optional(), *_slurm(), _cache(), *_releases()]
    for state, what, words in findings:
        print(f"{state:8} {what:18} {words}")
    return int(any(finding.state == WRONG for finding in findings))


def _table() -> Iterator[Finding]:
    from ..registry import BUNDLED
    from ..releases import load, locate
    from ..table import verify

    try:
        bench, problems = load(), verify(locate(BUNDLED).parent)
    except NasbenchRobustError as error:
        yield Finding(WRONG, BUNDLED, str(error))
        return
    state = Finding(OK, BUNDLED, f"{bench.name} {bench.version}, every hash, count and outcome checked")
    yield from [Finding(WRONG, BUNDLED, problem) for problem in problems] or [state]


def _engine() -> Finding:
    from ..native import build_name, is_available

    try:
        name = build_name()
    except NasbenchRobustError as error:
        return Finding(WRONG if is_available() else MISSING, "native engine", str(error))
    return Finding(OK, "native engine", f"for {name}")


def _torch() -> Finding:
    extra, purpose = OPTIONAL["torch"]
    try:
        import torch
    except (ImportError, OSError) as error:  # the second where a library that it loads is not there or broken
        how = f"pip install '.[{extra}]' in a clone; {WITHOUT_CUDA}"
        known = getattr(error, "name", None) == "torch"
        return Finding(MISSING if known else WRONG, "torch", f"{purpose}: {how}" if known else str(error))
    from ..networks import trained_cells

    try:
        trained_cells()
    except NasbenchRobustError as error:
        return Finding(WRONG, "torch", str(error))
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return Finding(OK, "torch", f"{torch.__version__}, {', '.join(gpus) or 'no GPU'}")


def _optional() -> Iterator[Finding]:
    for name, (extra, purpose) in OPTIONAL.items():
        if name == "torch":
            continue
        try:
            yield Finding(OK, name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(MISSING, name, f"{purpose}: pip install {name}, or '.[{extra}]' in a clone")


def _slurm() -> Iterator[Finding]:
    place = shutil.which("sbatch")
    words = place or "for `nasbench-robust submit`; `nasbench-robust run` makes tables without it"
    yield Finding(OK if place else MISSING, "Slurm", words)


def _cache() -> Finding:
    from tempfile import TemporaryFile

    from ..files import HOME_VARIABLE, OFFLINE_VARIABLE, home, is_offline

    try:
        folder = home()
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except NasbenchRobustError as error:
        return Finding(WRONG, "cache", str(error))
    except OSError as error:
        words = f"{folder} cannot be written to ({error.strerror}); let {HOME_VARIABLE} name another folder"
        return Finding(WRONG, "cache", words)
    return Finding(OK, "cache", f"{folder}{f', offline by {OFFLINE_VARIABLE}' if is_offline() else ''}")


def _releases() -> Iterator[Finding]:
    from ..registry import RELEASES
    from ..releases import is_here

    for name, release in RELEASES.items():
        try:
            here = is_here(release)
        except NasbenchRobustError as error:
            yield Finding(WRONG, name, str(error))
            continue
        yield Finding(OK if here else MISSING, name, "in the cache" if here else f"nasbench-robust download {name}")


COMMANDS = (
    Command(
        "doctor",
        "look at this installation: what is there, what is missing, how to get it",
        lambda _: None,
        _doctor,
        "The exit code is 1 where something is wrong, 0 where optional parts are missing.",
    ),
)

"""What a command is, how every command ends, and the arguments that several of them share."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import InvalidValueError, NasbenchRobustError

if TYPE_CHECKING:
    from ..settings import Settings

AnySettings = TypeVar("AnySettings", bound="Settings")
# Where schedulers say which task of an array this is.
TASK_VARIABLES = ("SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX", "LSB_JOBINDEX", "JOB_COMPLETION_INDEX")
# What torch's errors of memory, drivers and libraries of a GPU are told by: they have no class that all versions know.
_GPU = re.compile("CUDA|cuDNN|cuBLAS|NVIDIA")


class Command(NamedTuple):
    """One command of the shell.

    Attributes
    ----------
    name, text : str
        What it is called, and in one line what it does.
    add_arguments : callable
        Adds its arguments to a parser.
    run : callable
        Does it and returns the exit code.
    more : str
        What its help says beside.
    """

    name: str
    text: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    more: str = ""

    @property
    def description(self) -> str:
        """What its help says first."""
        return f"{self.text[0].upper()}{self.text[1:]}. {self.more}".strip()


def program(command: Command, name: str) -> Callable[[Sequence[str] | None], int]:
    """Return a command as a program of its own: what takes its arguments and returns the exit code."""

    def main(arguments: Sequence[str] | None = None) -> int:
        parser = argparse.ArgumentParser(prog=name, description=command.description)
        command.add_arguments(parser)
        args = parser.parse_args(arguments)
        log_to_stderr(logging.INFO)
        return guarded(name, lambda: run(command, args), getattr(args, "out", None) or "output")

    return main


def run(command: Command, args: argparse.Namespace) -> int:
    """Run a command with arguments that are one line each, as files, scripts and schedulers need them."""
    for name, value in vars(args).items():
        for word in value if isinstance(value, list) else [value]:
            if word == "":
                raise InvalidValueError(name.replace("_", "-"), word, "text that is not empty")
            if isinstance(word, str) and any(ord(letter) < 32 or ord(letter) == 127 for letter in word):
                raise InvalidValueError(name.replace("_", "-"), word, "text without line breaks and control characters")
    return command.run(args)


def log_to_stderr(level: int) -> None:
    """Print what the package logs from a level on, and the warnings of others, to standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("nasbench_robust").setLevel(level)


def guarded(name: str, work: Callable[[], int], out: str = "output") -> int:
    """Call `work` and return its exit code; an error becomes one sentence and code 2, Ctrl-C code 130.

    `out` stands in the sentence where the system does not say which file it is about, as on a full disk.
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (as long as the process)
    if sys.stdout is None:
        print(f"{name}: standard output is closed", file=sys.stderr)
        return 2
    try:
        code = work()
        sys.stdout.flush()
        return code
    except NasbenchRobustError as error:
        print(f"{name}: {error}", file=sys.stderr)
    except BrokenPipeError:  # the reader of a pipe, head for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = error.filename2 or error.filename or out  # of a rename, the second is what the user named
        print(f"{name}: {place}: {error.strerror or error}", file=sys.stderr)
    except MemoryError:
        print(f"{name}: {out}: not enough memory", file=sys.stderr)
    except RuntimeError as error:
        if not _GPU.search(str(error)):
            raise
        print(f"{name}: {out}: the GPU failed: {_first_sentence(str(error))}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 2


def _first_sentence(text: str) -> str:
    """Return what an error of torch says first; advice for programmers follows."""
    return text.strip().splitlines()[0].partition(". ")[0].rstrip(".")


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def tell(line: str) -> None:
    """Print a line to standard error, beside the results."""
    print(line, file=sys.stderr, flush=True)


def positive(text: str) -> int:
    """Read a count: the type of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a positive integer")
    return int(text)


def seed(text: str) -> int:
    """Read a seed: the type of an argument."""
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text} is no seed: expected an integer in 0..2147483647")
    return int(text)


class _Distinct(argparse.Action):
    """Takes values of which none stands twice."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            parser.error(f"argument {option}: {twice} stands there more than once, expected each of them once")
        setattr(namespace, self.dest, values)


def add_seeds(parser: argparse.ArgumentParser, default: Sequence[int] | None, text: str) -> None:
    """Add the argument that names seeds."""
    parser.add_argument("--seeds", type=seed, nargs="+", action=_Distinct, default=default, metavar="SEED", help=text)


def task_number() -> str | None:
    """Return the number of this task in an array of Slurm, PBS, LSF or Kubernetes."""
    numbers = {name: os.environ.get(name) for name in TASK_VARIABLES}
    if numbers["LSB_JOBINDEX"] == "0":  # LSF: no array
        numbers["LSB_JOBINDEX"] = None
    return next((number for number in numbers.values() if number), None)


def add_task(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a line of a work list."""
    parser.add_argument("--work", help="work list; --task says which line of it")
    text = f"line of the work list, from 0 (default: {', '.join(TASK_VARIABLES)})"
    parser.add_argument("--task", default=task_number(), type=int, help=text)


def add_cells(parser: argparse.ArgumentParser, default: str | None = "all") -> None:
    """Add the argument that names cells."""
    text = "'all' (default), 'every:4' for every fourth of all, or indices and ranges such as 0-99,1234"
    parser.add_argument("--cells", default=default, help=text)


def add_images(parser: argparse.ArgumentParser, purpose: str = "train on") -> None:
    """Add the arguments that say which images are used, where they are, and on what."""
    parser.add_argument(
        "--dataset", default="digits", help=f"images to {purpose}: digits (default), cifar10, cifar100, ImageNet16-120"
    )
    parser.add_argument(
        "--data-root",
        metavar="ROOT",
        help="folder of the images, or hub:owner/name (default: the folder that NASBENCH_ROBUST_IMAGES names); "
        "digits need none",
    )
    parser.add_argument("--settings", help="TOML or JSON file that overrides settings of the data set's protocol")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument(
        "--threads",
        type=positive,
        default=1,
        help="CPU threads of a process (default: 1); results of torch depend on it",
    )


def with_changes(args: argparse.Namespace, settings: AnySettings) -> AnySettings:
    """Return settings with what the file of ``--settings`` changes."""
    from ..settings import read_settings

    return read_settings(args.settings, settings) if args.settings else settings


def again(command: str, args: argparse.Namespace, worklist: Path, *names: str) -> list[str]:
    """Return the command that makes a line of a work list, but for the number of the line; files by whole paths."""
    words = [sys.executable, "-m", "nasbench_robust", command, "--work", os.path.realpath(worklist)]
    for name in names:
        value = getattr(args, name)
        if value:
            is_file = name in ("out", "settings", "table")
            words += [f"--{name.replace('_', '-')}", os.path.realpath(value) if is_file else str(value)]
    return words

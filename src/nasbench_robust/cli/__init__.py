"""The command line: ``nasbench-robust COMMAND``. Exit code 0: done; 1: validation found errors; 2: the input was wrong.

Only what a command needs is imported inside it, so that ``--help`` is instant.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from ..errors import MissingPackageError
from ..version import __version__
from .command import Command, guarded, log_to_stderr, run

_FILES = (
    "tables",
    "comparing",
    "cells",
    "exploring",
    "ranking",
    "releases",
    "generation",
    "collecting",
    "moving",
    "scoring",
    "searching",
    "doctor",
)


def commands() -> Iterator[Command]:
    """Yield all commands in the order of the help; a file of them is imported when it is reached."""
    for name in _FILES:
        yield from import_module(f".{name}", __name__).COMMANDS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    first = next((word for word in words if not word.startswith("-")), "")
    everything = parser(next((command for command in commands() if command.name == first), None))
    args = everything.parse_args(words)
    if not hasattr(args, "command"):
        everything.print_help()
        return 2
    log_to_stderr(logging.WARNING if args.quiet else logging.INFO)
    place = str(getattr(args, "out", None) or getattr(args, "folder", "output"))
    return guarded("nasbench-robust", lambda: run(args.command, args), place)


class _Completion(argparse.Action):
    """Print the completion of all commands, as shtab makes it, and end."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, shell: object, __: object = None) -> None:
        try:
            import shtab
        except ImportError:
            parser.exit(2, f"{parser.prog}: {MissingPackageError('shtab', 'completion')}\n")
        print(shtab.complete(parser, str(shell)))
        parser.exit()


def parser(only: Command | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands, or of the one that is wanted: `command` of its result is what to run."""
    everything = argparse.ArgumentParser(
        prog="nasbench-robust",
        description="Query, make, search and publish tables of adversarially trained NAS-Bench-201 cells.",
        epilog="example: nasbench-robust query 9930 --metric pgd_acc",
    )
    everything.add_argument("--version", action="version", version=f"nasbench-robust {__version__}")
    quiet: dict[str, Any] = {"action": "store_true", "help": "say nothing about downloads and conversions"}
    everything.add_argument("-q", "--quiet", **quiet)
    shells = ("bash", "zsh", "tcsh")
    completion = "print what makes a shell complete commands: source <(nasbench-robust --print-completion bash)"
    everything.add_argument("--print-completion", action=_Completion, choices=shells, help=completion)
    known = everything.add_subparsers(title="commands", metavar="COMMAND")
    for command in commands() if only is None else (only,):
        own = known.add_parser(command.name, help=command.text, description=command.description)
        command.add_arguments(own)
        own.add_argument("-q", "--quiet", default=argparse.SUPPRESS, **quiet)
        own.set_defaults(command=command)
    return everything

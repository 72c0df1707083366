"""The command line: ``nasbench-robust COMMAND``. Exit code 0: done; 1: validation found errors; 2: the input was wrong.

Only what a command needs is imported inside it, so that ``--help`` is instant.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from ..version import __version__
from . import generation, releases, scoring, searching, tables
from .command import guarded, log_to_stderr

COMMANDS = (*tables.COMMANDS, *releases.COMMANDS, *generation.COMMANDS, *scoring.COMMANDS, *searching.COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    args = parser().parse_args(arguments)
    log_to_stderr(logging.WARNING if args.quiet else logging.INFO)
    return guarded("nasbench-robust", lambda: args.command.run(args), getattr(args, "out", None) or "output")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands: `command` of its result is what to run."""
    everything = argparse.ArgumentParser(
        prog="nasbench-robust",
        description="Query, make, search and publish tables of adversarially trained NAS-Bench-201 cells.",
        epilog="example: nasbench-robust query 9930 --metric pgd_acc",
    )
    everything.add_argument("--version", action="version", version=f"nasbench-robust {__version__}")
    everything.add_argument("-q", "--quiet", action="store_true", help="say nothing about downloads and conversions")
    commands = everything.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.text, description=command.description)
        command.add_arguments(own)
        own.set_defaults(command=command)
    return everything

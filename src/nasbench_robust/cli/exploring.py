"""The command that shows releases in a browser."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from ..errors import InvalidValueError
from ..registry import BUNDLED
from .command import Command, say


def _arguments(parser: argparse.ArgumentParser) -> None:
    text = "names of releases, paths of tables, or hub:owner/name"
    parser.add_argument("-r", "--release", nargs="+", action="extend", help=f"{text} (default: {BUNDLED})")
    parser.add_argument("--out", metavar="PAGE.html", help="file to write (default: one in the cache folder)")
    parser.add_argument("--small", action="store_true", help="leave curves and outcomes of single runs out")
    parser.add_argument("--no-open", action="store_true", help="do not open the page in a browser")


def _explore(args: argparse.Namespace) -> int:
    from ..explorer import page_file, write_page
    from ..files import home
    from ..releases import load

    given = None if args.out is None else page_file(args.out, "--out")
    names = args.release or [BUNDLED]
    benches = [load(name) for name in names]
    if any(bench in benches[:place] for place, bench in enumerate(benches)):
        raise InvalidValueError("--release", " ".join(names), "each release once")
    out = given or home() / "explorer" / f"{'+'.join(bench.name for bench in benches)}.html"
    path = write_page(out, benches, details=not args.small)
    say(f"{path}: {path.stat().st_size / 1e6:.1f} MB, needs no network")
    if not args.no_open and not _open(path):
        say("no browser was found here: open this file in one")
    return 0


def _open(path: Path) -> bool:
    """Show a file in the browser of the desktop, and return whether there is one; those of the terminal are none."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    return type(browser) is not webbrowser.GenericBrowser and browser.open(path.resolve().as_uri())


COMMANDS = (
    Command(
        "explore",
        "look at releases in a browser: landscape, cells, leaderboard, comparison",
        _arguments,
        _explore,
        "The page is one file with all numbers in it, which opens from disk and can be sent.",
    ),
)

"""The page: its template with styles, scripts and data in it, so that one file needs nothing else."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..files import write_output
from ..table import Benchmark
from .payload import payload

_PAGE = Path(__file__).with_name("page")
# Modules in the order of their imports: each may use those before it.
_MODULES = (
    "space",
    "format",
    "data",
    "details",
    "variables",
    "state",
    "filters",
    "colours",
    "drawing",
    "tip",
    "points",
    "searches",
    "overlay",
    "landscape",
    "controls",
    "values",
    "evidence",
    "cell",
    "leaderboard",
    "compare",
    "about",
    "main",
)
_SCRIPTS = ("uplot", "parquet")
_IMPORT = re.compile(r"^import (\{.*?\}) from '\./(\w+)\.js'$", re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:const|function|class) (\w+))", re.MULTILINE)


def page(benches: Sequence[Benchmark], *, details: bool = True) -> str:
    """Return a page about releases, as HTML that needs no other file and no network.

    Parameters
    ----------
    benches : sequence of Benchmark
        The releases; their names or versions differ.
    details : bool
        Whether curves and outcomes of runs are in it, where a release has any: most of the page's size.

    Raises
    ------
    InvalidValueError
        If a release stands there twice.
    MissingResultError
        If a release has no result.
    """
    about, blobs = payload(benches, details)
    data = json.dumps(about, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    parts = {
        "styles": "".join(_text(f"vendor/{name}.min.css") for name in ("uplot",)) + _text("style.css"),
        "vendor": "".join(f"<script>{_text(f'vendor/{name}.min.js')}</script>\n" for name in _SCRIPTS),
        "about": data,
        **{name: blob.text() for name, blob in blobs.items()},
        "script": script(),
    }
    return re.sub(r"<!--(\w+)-->", lambda place: parts[place[1]], _text("page.html"))


def script() -> str:
    """Return all modules as one, since a page from disk may import no file: each a function that gives its exports."""
    functions = (_as_function(name, _text(f"{name}.js")) for name in _MODULES)
    return "\n".join(("'use strict';", *functions))


def _as_function(name: str, text: str) -> str:
    exports = ", ".join(exported for _, exported in _EXPORT.findall(text))
    body = _EXPORT.sub(r"\1", _IMPORT.sub(r"const \1 = \2_module;", text))
    return f"const {name}_module = (() => {{\n{body}\nreturn {{ {exports} }};\n}})();"


def write_page(path: str | os.PathLike[str], benches: Sequence[Benchmark], *, details: bool = True) -> Path:
    """Write a page to a file, which appears whole or not at all.

    Parameters
    ----------
    path : path
        The folder is made if it is not there.
    benches, details
        As in `page`, and so are the errors.

    Returns
    -------
    Path
        The file.
    """
    write_output(page(benches, details=details).encode(), Path(path))
    return Path(path)


def _text(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")

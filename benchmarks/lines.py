"""Lines of code by room, without docstrings, comments and blank lines: ``python benchmarks/lines.py [REVISION]``.

With a revision of the repository, its lines stand beside those of the working tree.
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IGNORED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}


def lines_of_code(text: str) -> int:
    """Count the lines of a program that hold code."""
    tree = ast.parse(text)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    strings: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            strings.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in IGNORED and token.type != tokenize.ENDMARKER:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - strings)


def room_of(path: str) -> str:
    """Return what the lines of a file are counted under: the library's rooms, and the other folders."""
    parts = path.removeprefix("src/").split("/")
    if parts[0] != "nasbench_robust":
        return f"{parts[0]}/"
    return f"nasbench_robust/{parts[1]}/" if len(parts) > 2 else "nasbench_robust"


def count(files: Iterable[tuple[str, str]]) -> Counter[str]:
    """Add up lines by room, and the library as a whole."""
    lines: Counter[str] = Counter()
    for path, text in files:
        number = lines_of_code(text)
        lines[room_of(path)] += number
        if room_of(path).startswith("nasbench_robust"):
            lines["library"] += number
        if path.startswith("generation/") or room_of(path).startswith("nasbench_robust"):
            lines["library and generation/"] += number
    return lines


def git(*arguments: str) -> str:
    """Return what git prints."""
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Print the table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("revision", nargs="?", help="an earlier state to compare with")
    args = parser.parse_args()
    here = git("ls-files", "--cached", "--others", "--exclude-standard", "*.py").split()
    now = count((path, (ROOT / path).read_text()) for path in here if (ROOT / path).exists())
    before: Counter[str] = Counter()
    if args.revision:
        there = git("ls-tree", "-r", "--name-only", args.revision).split()
        before = count((path, git("show", f"{args.revision}:{path}")) for path in there if path.endswith(".py"))
    print(f"{'':32} {'now':>7} {args.revision or '':>12}")
    for room in sorted(now | before):
        print(f"{room:32} {now[room]:7} {before[room] if args.revision else '':>12}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

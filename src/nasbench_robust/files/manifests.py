"""``manifest.json`` of a published release: SHA-256 and size of every file, for checking a download."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .atomic import sha256

MANIFEST = "manifest.json"


def manifest_text(facts: dict[str, Any], folder: Path, files: Sequence[str]) -> str:
    """Return the manifest of files in a folder, as JSON: `facts`, and SHA-256 and size in bytes by name."""
    listed = {name: {"sha256": sha256(folder / name), "size": (folder / name).stat().st_size} for name in sorted(files)}
    return json.dumps({**facts, "files": listed}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def mismatch(manifest: Path, path: Path) -> str | None:
    """Return what a manifest has against a file, or None if it is the one that was published."""
    try:
        promised = json.loads(manifest.read_bytes())["files"][path.name]["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"its {manifest.name} gives no SHA-256 of {path.name}"
    found = sha256(path)
    return None if found == promised else f"the SHA-256 of {path.name} is {found}, {manifest.name} gives {promised}"

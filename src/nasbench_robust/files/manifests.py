"""``manifest.json`` of a published release: SHA-256 and size of every file, for checking a download."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .atomic import checksum
from .reading import read_bytes

MANIFEST = "manifest.json"


def manifest_text(about: dict[str, Any], folder: Path, files: Sequence[str]) -> str:
    """Return the manifest of files in a folder, as JSON: `about`, and SHA-256 and size in bytes by name."""
    listed = {
        name: {"sha256": checksum(folder / name), "size": (folder / name).stat().st_size} for name in sorted(files)
    }
    return json.dumps({**about, "files": listed}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def mismatch(manifest: Path, path: Path) -> str | None:
    """Return what a manifest has against a file, or None if it is the one that was published."""
    try:
        promised = json.loads(read_bytes(manifest))["files"][path.name]["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"its {manifest.name} gives no SHA-256 of {path.name}"
    digest = checksum(path)
    return None if digest == promised else f"the SHA-256 of {path.name} is {digest}, {manifest.name} gives {promised}"

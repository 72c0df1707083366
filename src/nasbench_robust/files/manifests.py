"""``manifest.json`` of a published release: SHA-256 and size of every file, for checking a download."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import TableError
from .atomic import checksum
from .reading import is_there, read_bytes, readable

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


def checked(path: Path) -> tuple[str, str]:
    """Return the SHA-256 of a file and 12 digits of that of the manifest which names it; nothing where none does.

    Raises
    ------
    TableError
        If the file is not the one of the manifest.
    """
    try:
        with readable(path):
            # Of a link, that beside what it names, if there is one: caches keep content and names apart.
            beside = Path(os.path.realpath(path, strict=True)).with_name(MANIFEST)
            manifest = beside if is_there(beside) else path.with_name(MANIFEST)
        content = read_bytes(manifest)
        listed = json.loads(content).get("files", {})
    except FileNotFoundError:
        return "", ""
    except (ValueError, AttributeError, RecursionError) as error:
        raise TableError(manifest, f"not a manifest: {error}") from None
    if path.name not in listed:
        return "", ""
    if problem := mismatch(manifest, path):
        raise TableError(path, problem)
    return listed[path.name]["sha256"], hashlib.sha256(content).hexdigest()[:12]

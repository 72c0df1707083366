"""What a table is to hold: remembered in the folder of its shards by those who make it, so that others need not say."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import TableError
from ..files import json_hash, write_bytes
from ..settings import TrainingSettings
from .slurm import active_tasks
from .worklists import Unit, parse_cells, read_task

JOBS = "jobs"  # of the folder of shards: requests, work lists, scripts and logs


def remember(folder: str | os.PathLike[str], settings: TrainingSettings, cells: str, seeds: Sequence[int]) -> None:
    """Remember that a folder is to hold runs of these cells, as `parse_cells` takes them, and seeds."""
    request = {"settings": settings.to_dict(), "cells": cells, "seeds": list(seeds)}
    path = Path(folder) / JOBS / f"table-{json_hash(request)[:16]}.json"
    if not path.exists():
        write_bytes((json.dumps(request) + "\n").encode(), path)


def remembered(folder: str | os.PathLike[str]) -> tuple[TrainingSettings, list[Unit]] | None:
    """Return the settings and all units that were asked for, seed by seed, or None if nothing was.

    Raises
    ------
    TableError
        If what is there cannot be read.
    """
    settings, units = None, set[Unit]()
    for path in sorted((Path(folder) / JOBS).glob("table-*.json"), key=lambda path: path.stat().st_mtime):
        try:
            request = json.loads(path.read_text(encoding="utf-8"))
            settings = TrainingSettings.from_dict(request["settings"])
            units |= {Unit(index, int(seed)) for seed in request["seeds"] for index in parse_cells(request["cells"])}
        except (ValueError, KeyError, TypeError, LookupError) as error:
            raise TableError(path, f"does not say what the table is to hold ({error})") from None
    return None if settings is None else (settings, sorted(units, key=lambda unit: (unit.seed, unit.index)))


def remember_job(job: str, offset: int, work: Path) -> None:
    """Remember that task k of a job makes line `offset` + k of a work list."""
    write_bytes((json.dumps({"offset": offset}) + "\n").encode(), work.parent / f"job-{job}.json")


def queued(folder: str | os.PathLike[str]) -> set[Unit]:
    """Return the units of tasks of this folder that wait or run in Slurm's queue.

    Raises
    ------
    SlurmError
        If tasks were submitted and Slurm does not answer.
    """
    jobs = {path.stem.removeprefix("job-"): path for path in (Path(folder) / JOBS).glob("*/job-*.json")}
    units: set[Unit] = set()
    for job, task in active_tasks() if jobs else ():
        if job in jobs:
            offset = json.loads(jobs[job].read_text(encoding="utf-8"))["offset"]
            units.update(read_task(jobs[job].parent / "work.jsonl", offset + task))
    return units

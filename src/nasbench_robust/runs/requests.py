"""What a table is to hold: remembered in the folder of its shards by those who make it, so that others need not say."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from ..errors import TableError
from ..files import entries, is_there, json_hash, read_bytes, write_bytes
from ..settings import TrainingSettings
from .slurm import active_tasks
from .worklists import Unit, parse_cells, read_task

JOBS = "jobs"  # of the folder of shards: requests, work lists, scripts and logs


def remember(folder: str | os.PathLike[str], settings: TrainingSettings, cells: str, seeds: Sequence[int]) -> None:
    """Remember that a folder is to hold runs of these cells, as `parse_cells` takes them, and seeds."""
    request = {"settings": settings.to_dict(), "cells": cells, "seeds": list(seeds)}
    path = Path(folder) / JOBS / f"table-{json_hash(request)[:16]}.json"
    if not is_there(path):
        write_bytes((json.dumps(request) + "\n").encode(), path)


def adopt_requests(folders: Iterable[Path], out: Path) -> None:
    """Let a folder remember what others were asked for."""
    for folder in folders:
        for entry in entries(folder / JOBS, ".json"):
            if entry.name.startswith("table-"):
                write_bytes(read_bytes(Path(entry.path)), out / JOBS / entry.name, replace=False)


def remembered(folder: str | os.PathLike[str]) -> tuple[TrainingSettings, list[Unit]] | None:
    """Return the settings and all units that were asked for, seed by seed, or None if nothing was.

    Raises
    ------
    TableError
        If what is there cannot be read.
    """
    settings, units = None, set[Unit]()
    paths = [Path(entry.path) for entry in entries(Path(folder) / JOBS, ".json") if entry.name.startswith("table-")]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime):
        try:
            request = json.loads(read_bytes(path))
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
    below = chain.from_iterable(entries(Path(each.path), ".json") for each in entries(Path(folder) / JOBS))
    jobs = {each.name[4:-5]: Path(each.path) for each in below if each.name.startswith("job-")}
    units: set[Unit] = set()
    for job, task in active_tasks() if jobs else ():
        if job in jobs:
            offset = json.loads(read_bytes(jobs[job]))["offset"]
            units.update(read_task(jobs[job].parent / "work.jsonl", offset + task))
    return units

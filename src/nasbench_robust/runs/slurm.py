"""Array jobs for Slurm: the script is text that can be read before it is submitted; nothing else talks to Slurm.

Every task of an array makes one line of a work list. Before a time limit Slurm sends SIGUSR1, on preemption and
scancel SIGTERM; the program checkpoints on either (generation/train_cell.py), so nothing but the step under way is
lost.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InvalidValueError, SlurmError

DEFAULT_MAX_ARRAY_SIZE = 1001  # Slurm's own default: task numbers 0 to 1000


@dataclass(frozen=True)
class ArrayJob:
    """One array job.

    Attributes
    ----------
    command : tuple of str
        The program and its arguments, but for ``--task``.
    tasks : int
        Number of array tasks.
    offset : int
        Line of the work list that task 0 makes.
    log_folder : str
        Folder of the logs, one per task.
    name : str
        Job name.
    throttle : int or None
        How many tasks run at once at most; None for no limit of our own.
    time_limit : str
        As Slurm takes it, ``"12:00:00"``.
    warning_seconds : int
        How long before the time limit the program is told; longer than one training step.
    options : tuple of str
        Further ``#SBATCH`` options, ``"--partition=gpu"``.
    """

    command: tuple[str, ...]
    tasks: int
    offset: int
    log_folder: str
    name: str = "nasbench-robust"
    throttle: int | None = None
    time_limit: str = "12:00:00"
    warning_seconds: int = 120
    options: tuple[str, ...] = ()


def array_jobs(job: ArrayJob, max_size: int) -> Iterator[ArrayJob]:
    """Cut a job into jobs whose task numbers the site accepts: 0 to `max_size` - 1."""
    for start in range(0, job.tasks, max_size):
        yield ArrayJob(**{**vars(job), "tasks": min(max_size, job.tasks - start), "offset": job.offset + start})


def render(job: ArrayJob) -> str:
    """Return the batch script of a job."""
    for option in job.options:
        if not re.fullmatch(r"--[a-z][\w-]*(=[^\n]*)?", option):
            raise InvalidValueError("option", option, "an sbatch option such as '--partition=gpu'")
    throttle = f"%{job.throttle}" if job.throttle else ""
    header = [
        f"--job-name={job.name}",
        f"--array=0-{job.tasks - 1}{throttle}",
        f"--output={job.log_folder}/%A_%a.log",
        f"--time={job.time_limit}",
        "--requeue",
        "--open-mode=append",  # a requeued task adds to its log
        f"--signal=B:USR1@{job.warning_seconds}",
        *job.options,
    ]
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {option}" for option in header),
        "",
        "# exec: the signals of Slurm reach the program itself.",
        f"exec {shlex.join(job.command)} --task $((SLURM_ARRAY_TASK_ID + {job.offset}))",
    ]
    return "\n".join(lines) + "\n"


def submit(script: Path) -> str:
    """Submit a script and return the job's number."""
    return _run("sbatch", "--parsable", str(script)).split(";")[0].strip()


def max_array_size() -> int:
    """Return the site's MaxArraySize; Slurm's default where no Slurm answers."""
    if shutil.which("scontrol") is None:
        return DEFAULT_MAX_ARRAY_SIZE
    try:
        size = re.search(r"MaxArraySize\s*=\s*(\d+)", _run("scontrol", "show", "config"))
    except SlurmError:
        return DEFAULT_MAX_ARRAY_SIZE
    return int(size[1]) if size else DEFAULT_MAX_ARRAY_SIZE


def requeue(job_id: str) -> None:
    """Ask Slurm to run the job again."""
    _run("scontrol", "requeue", job_id)


def _run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise SlurmError(f"no {command[0]} on this machine: is Slurm installed, and its bin folder in PATH?")
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise SlurmError(f"{shlex.join(command)} failed: {said}")
    return done.stdout

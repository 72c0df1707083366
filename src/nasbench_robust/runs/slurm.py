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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InvalidValueError, SlurmError

DEFAULT_MAX_ARRAY_SIZE = 1001  # Slurm's own default: task numbers 0 to 1000
LONGEST_WARNING = 65535  # seconds that --signal takes
# Options of sbatch that an array job is made of, and what says them here.
_OWN_OPTIONS = {
    "--array": "--cells, --seeds and --runs-per-task",
    "--time": "--time before the --",
    "--signal": "--warning",
    "--wrap": "the command submit itself",
}
_SHORT_OPTIONS = {"-a": "--array", "-t": "--time"}


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
    cpus : int
        CPUs of a task.
    gpus : int
        GPUs of a task.
    memory_mib : int or None
        Memory of a task; None for the site's default.
    time_limit : str
        As Slurm takes it, ``"12:00:00"``.
    warning_seconds : int
        How long before the time limit the program is told; longer than one training step.
    options : tuple of str
        Further options of sbatch as on its command line, ``("--partition=gpu",)`` or ``("-p", "gpu")``; they come last
        and so replace ours.
    """

    command: tuple[str, ...]
    tasks: int
    offset: int
    log_folder: str
    name: str = "nasbench-robust"
    throttle: int | None = None
    cpus: int = 1
    gpus: int = 0
    memory_mib: int | None = None
    time_limit: str = "12:00:00"
    warning_seconds: int = 120
    options: tuple[str, ...] = ()


def array_jobs(job: ArrayJob, max_size: int) -> Iterator[ArrayJob]:
    """Cut a job into jobs whose task numbers the site accepts: 0 to `max_size` - 1."""
    for start in range(0, job.tasks, max_size):
        yield ArrayJob(**{**vars(job), "tasks": min(max_size, job.tasks - start), "offset": job.offset + start})


def render(job: ArrayJob) -> str:
    """Return the batch script of a job.

    Raises
    ------
    InvalidValueError
        If Slurm could not write its logs, would not give the notice before the time limit, or an option is none.
    """
    if "\\" in job.log_folder or not job.log_folder.isprintable():
        raise InvalidValueError(
            "the folder of the logs", job.log_folder, "a path that Slurm takes, without a backslash"
        )
    seconds = time_seconds(job.time_limit)
    if not 0 < job.warning_seconds <= LONGEST_WARNING or (seconds is not None and job.warning_seconds >= seconds):
        least = LONGEST_WARNING if seconds is None else min(LONGEST_WARNING, seconds - 1)
        raise InvalidValueError("warning", job.warning_seconds, f"1 to {least} seconds, less than the time limit")
    options = _joined(job.options)
    throttle = f"%{job.throttle}" if job.throttle else ""
    header = [
        (f"--job-name={job.name}",),
        (f"--array=0-{job.tasks - 1}{throttle}",),
        (f"--output={job.log_folder.replace('%', '%%')}/%A_%a.log",),
        (f"--time={job.time_limit}",),
        (f"--cpus-per-task={job.cpus}",),
        *([(f"--gres=gpu:{job.gpus}",)] if job.gpus and not _names(options, "--g", "-G") else []),
        *([(f"--mem={job.memory_mib}M",)] if job.memory_mib and not _names(options, "--mem") else []),
        ("--requeue",),
        ("--open-mode=append",),  # a requeued task adds to its log
        (f"--signal=B:USR1@{job.warning_seconds}",),
        *options,
    ]
    lines = [
        "#!/bin/bash",
        *("#SBATCH " + " ".join(map(_quoted, words)) for words in header),
        "",
        "# exec: the signals of Slurm reach the program itself.",
        f"exec {shlex.join(job.command)} --task $((SLURM_ARRAY_TASK_ID + {job.offset}))",
    ]
    return "\n".join(lines) + "\n"


def time_seconds(text: str) -> int | None:
    """Return a time limit as Slurm writes it, ``"30"`` minutes, ``"12:00:00"`` or ``"2-12"``; None for no limit.

    Raises
    ------
    InvalidValueError
        If it is none.
    """
    if text.lower() in ("infinite", "unlimited"):
        return None
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text, re.ASCII)
    if match is None:
        raise InvalidValueError(
            "time", text, "a time limit such as '12:00:00', '90' (minutes) or '2-12' (days and hours)"
        )
    days, first, second, third = (None if part is None else int(part) for part in match.groups())
    if days is None and third is None:  # minutes, or minutes and seconds
        seconds = (first or 0) * 60 + (second or 0)
    else:
        seconds = (((days or 0) * 24 + (first or 0)) * 60 + (second or 0)) * 60 + (third or 0)
    return seconds or None  # 0 is no limit


def _joined(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Return options of sbatch, each with its value where that is a word of its own."""
    options: list[tuple[str, ...]] = []
    for word in words:
        takes_value = bool(options) and len(options[-1]) == 1 and "=" not in options[-1][0]
        if word.isprintable() and re.match(r"--[a-z]|-[A-Za-z]", word):
            options.append((word,))
        elif word.isprintable() and word and word[0] != "-" and takes_value:
            options[-1] += (word,)
        else:
            raise InvalidValueError("option", word, "an sbatch option such as '--partition=gpu' or '-p gpu'")
    for name, *_ in options:
        long = _SHORT_OPTIONS.get(name[:2], name.partition("=")[0])
        for own, instead in _OWN_OPTIONS.items():
            if len(long) > 3 and own.startswith(long):  # sbatch takes long options cut short
                raise InvalidValueError("option", name, f"an option that the array is not made of: use {instead}")
    return options


def _names(options: Sequence[tuple[str, ...]], *beginnings: str) -> bool:
    return any(words[0].startswith(beginnings) for words in options)


def _quoted(word: str) -> str:
    """Return an option as it stands in a line of #SBATCH, where spaces, quotes and # are special, as in a shell."""
    name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{name}{equals}{shlex.quote(value) if value else ''}"


def submit(script: Path, after: str | None = None) -> str:
    """Submit a script, to begin after another job has ended if one is given, and return the job's number."""
    dependency = [f"--dependency=afterany:{after}"] if after else []
    return _run("sbatch", "--parsable", *dependency, str(script)).split(";")[0].strip()


def active_tasks() -> list[tuple[str, int]]:
    """Return the array tasks of this user that wait or run: the number of the job and that of the task."""
    words = map(str.split, _run("squeue", "--noheader", "--array", "--me", "--format=%F %K").splitlines())
    return [(job, int(task)) for job, task in words if task.isdecimal()]


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

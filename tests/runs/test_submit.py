"""What is submitted: scripts that sbatch reads as they are meant, numbers that make sense, nothing twice."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from slurm_cluster import Cluster

from nasbench_robust.cli import main
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.runs import (
    ArrayJob,
    Run,
    Unit,
    claim,
    compact,
    queued,
    remember,
    remember_job,
    remembered,
    render,
    write_run,
)
from nasbench_robust.runs.slurm import max_array_size, time_seconds
from nasbench_robust.settings import settings_for

JOB = ArrayJob(("true",), 3, 0, "/logs")
TASK_VARIABLES = ("SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX", "LSB_JOBINDEX", "JOB_COMPLETION_INDEX")


def header(job: ArrayJob) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in render(job).splitlines() if line.startswith("#SBATCH")]


# ------------------------------------------------------------------ the script


def test_what_a_task_takes_follows_from_the_arguments() -> None:
    assert "--cpus-per-task=3" in header(replace(JOB, cpus=3))
    assert not [line for line in header(JOB) if line.startswith(("--gres", "--mem"))]
    lines = header(replace(JOB, gpus=1, memory_mib=900))
    assert {"--gres=gpu:1", "--mem=900M"} <= set(lines)
    own = ("--gpus-per-task=2", "--mem-per-cpu=4G")
    assert not {"--gres=gpu:1", "--mem=900M"} & set(header(replace(JOB, gpus=1, memory_mib=900, options=own)))


def test_a_folder_may_hold_what_slurm_replaces() -> None:
    assert "--output='/a%%b c/%A_%a.log'" in header(replace(JOB, log_folder="/a%b c"))
    assert "--output=/logs/%A_%a.log" in header(JOB)


def test_memory_is_twice_the_most_that_a_run_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def script(*more: str) -> str:
        assert main(["submit", "--out", str(tmp_path), "--cells", "7", "--dry-run", *more]) == 0
        return capsys.readouterr().out

    assert "--mem" not in script()
    for seed, peak in enumerate((100.2, 250.6)):
        row = {"dataset": "digits", "index": 0, "seed": seed, "seeds": 1, "test_images": 517, "failure": "diverged"}
        write_run(Run({**row, "peak_memory_mib": peak}, [], {}), settings_for("digits"), tmp_path)
    assert "--mem=502M" in script()
    assert "--mem" not in script("--device", "cuda")
    assert "--gres=gpu:1" in script("--device", "cuda")
    compact(tmp_path)
    assert "--mem=502M" in script()


@pytest.mark.parametrize(("said", "size"), [("MaxArraySize            = 50", 50), ("SlurmctldPort = 1", 1001)])
def test_the_site_says_how_large_an_array_is(said: str, size: int, tmp_path: Path, monkeypatch) -> None:
    program = tmp_path / "scontrol"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert max_array_size() == size


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (("-p", "gpu"), ["-p gpu"]),
        (("--partition", "gpu", "--nice=10"), ["--partition gpu", "--nice=10"]),
        (("-pgpu", "--exclusive"), ["-pgpu", "--exclusive"]),
        (('--comment=two words # and a "quote"',), ["--comment='two words # and a \"quote\"'"]),
    ],
)
def test_options_of_sbatch_are_taken_as_on_its_command_line(given: tuple[str, ...], lines: list[str]) -> None:
    assert header(replace(JOB, options=given))[-len(lines) :] == lines


@pytest.mark.parametrize(
    "given",
    [("gpu",), ("",), ("-",), ("--array=0-9",), ("-a", "0-9"), ("--arr=1",), ("--time=1",), ("-t1",), ("--wrap", "x")]
    + [("--signal=USR1@9",), ("--comment=a\nb",), ("-p", "gpu", "cpu"), ("--nice=1", "2")],
)
def test_what_is_no_option_or_one_of_ours_is_refused(given: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValueError, match=r"option is .*, expected an"):
        render(replace(JOB, options=given))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5400), ("2:30", 150), ("12:00:00", 43200), ("2-12", 216000), ("1-0:30", 88200), ("1-2:3:4", 93784)]
    + [("UNLIMITED", None), ("0", None)],
)
def test_time_limits_are_read_as_slurm_reads_them(text: str, seconds: int | None) -> None:
    assert time_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1h", "1:2:3:4", "12:00:00\n#SBATCH --x", "1.5", "²", "1-2-3"])
def test_what_is_no_time_limit_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError, match="time is"):
        render(replace(JOB, time_limit=text))


@pytest.mark.parametrize(("limit", "warning"), [("1", 60), ("00:01:00", 3600), ("UNLIMITED", 65536), ("1:00:00", 0)])
def test_a_notice_that_cannot_be_given_is_refused(limit: str, warning: int) -> None:
    with pytest.raises(InvalidValueError, match=f"warning is {warning}, expected 1 to "):
        render(replace(JOB, time_limit=limit, warning_seconds=warning))


@pytest.mark.parametrize("folder", ["/a\nb", "/a\\b"])
def test_a_folder_that_slurm_cannot_log_to_is_refused(folder: str) -> None:
    with pytest.raises(InvalidValueError, match="the folder of the logs"):
        render(replace(JOB, log_folder=folder))


@pytest.mark.parametrize(
    "arguments",
    [["--runs-per-task", "0"], ["--throttle", "-1"], ["--max-array-size", "-1"], ["--warning", "0"], ["--threads", "0"]]
    + [
        ["--seeds", "0", "0", "0"],
        ["--seeds", "-1"],
        ["--time", "soon"],
        ["--warning", "99999"],
        ["--", "--array=0-9"],
    ],
)
def test_senseless_numbers_are_one_sentence(arguments: list[str], tmp_path: Path, capsys, monkeypatch) -> None:
    try:
        code = main(["submit", "--out", str(tmp_path / "out"), "--dry-run", "--cells", "3", *arguments])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    said = capsys.readouterr()
    assert not said.out
    assert said.err.strip().splitlines()[-1].count("expected") + said.err.count("invalid") >= 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["train", "run", "submit", "status", "score", "search", "genotype"])
def test_no_command_takes_a_seed_twice(command: str, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        main([command, "--out", str(tmp_path), "--seeds", "3", "4", "3"])
    assert "--seeds: 3 stands there more than once" in capsys.readouterr().err


# ------------------------------------------------------------------ what the folder remembers


def test_status_knows_the_table_from_the_folder_alone(tmp_path: Path, capsys) -> None:
    small = replace(settings_for("digits"), epochs=3)
    remember(tmp_path, small, "0-3", [0])
    remember(tmp_path, small, "0-3", [0])
    remember(tmp_path, small, "2-5", [0, 1])
    settings, units = remembered(tmp_path)
    assert settings == small
    assert units == [Unit(index, 0) for index in range(6)] + [Unit(index, 1) for index in range(2, 6)]
    assert main(["status", "--out", str(tmp_path)]) == 0
    assert "missing   10\n" in capsys.readouterr().out
    assert main(["status", "--out", str(tmp_path), "--cells", "0-1", "--seeds", "0"]) == 0
    assert "missing   2\n" in capsys.readouterr().out
    assert main(["status", "--out", str(tmp_path / "new")]) == 0
    assert "missing   19398\n" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()
    next((tmp_path / "jobs").iterdir()).write_text("[]")
    assert main(["status", "--out", str(tmp_path)]) == 2
    assert "does not say what the table is to hold" in capsys.readouterr().err


def test_status_writes_nothing(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(tmp_path, replace(settings_for("digits"), epochs=3), "3", [0])
    with claim(tmp_path, "digits-00003-0.parquet"):
        pass

    def read_only(event: str, arguments: tuple) -> None:
        if watched and event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(arguments[0])

    written: list[object] = []
    watched = [True]
    sys.addaudithook(read_only)
    assert main(["status", "--out", str(tmp_path)]) == 0
    watched.clear()  # a hook stays for good
    assert "missing   1\nrunning   0\n" in capsys.readouterr().out
    assert written == []


def test_units_of_tasks_in_the_queue_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasbench_robust.runs.slurm.shutil.which", lambda _: None)
    assert queued(tmp_path) == set()  # nothing was submitted, so nobody is asked
    work = tmp_path / "jobs" / "now" / "work.jsonl"
    work.parent.mkdir(parents=True)
    work.write_text("".join(f"[[{index}, 0]]\n" for index in range(6)))
    remember_job("7", 0, work)
    remember_job("8", 4, work)
    monkeypatch.setattr("nasbench_robust.runs.requests.active_tasks", lambda: [("7", 1), ("8", 1), ("9", 0)])
    assert queued(tmp_path) == {Unit(1, 0), Unit(5, 0)}


# ------------------------------------------------------------------ other schedulers


@pytest.mark.parametrize("variable", TASK_VARIABLES)
def test_the_index_of_any_scheduler_names_the_line(variable: str, tmp_path: Path, monkeypatch, capsys) -> None:
    for each in TASK_VARIABLES:
        monkeypatch.delenv(each, raising=False)
    work = tmp_path / "work.jsonl"
    out = str(tmp_path / "out")
    assert main(["submit", "--out", out, "--cells", "0-3", "--seeds", "0", "--write-worklist", str(work)]) == 0
    assert len(work.read_text().splitlines()) == 4
    for command in ("train", "score"):
        monkeypatch.setenv(variable, "17")
        assert main([command, "--out", out, "--work", str(work)]) == 2
        assert "task is 17, expected a line of the work list, 0 to 3" in capsys.readouterr().err
        monkeypatch.delenv(variable)
        monkeypatch.setenv("LSB_JOBINDEX", "0")  # LSF says so where there is no array
        assert main([command, "--out", out, "--work", str(work)]) == 2
        assert "no --task is given" in capsys.readouterr().err
        monkeypatch.delenv("LSB_JOBINDEX")


# ------------------------------------------------------------------ a real Slurm


@pytest.mark.parametrize("name", ["a folder", "50%a", 'it\'s "#1"', "tab-é$HOME"])
def test_logs_are_where_the_folder_is_called(name: str, cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    script = tmp_path / "job.sbatch"
    script.write_text(render(replace(JOB, command=("echo", "made"), tasks=1, log_folder=str(folder))))
    job = cluster.run("sbatch", "--parsable", str(script)).strip()
    log = folder / f"{job}_0.log"
    cluster.wait_for(lambda: log.exists() and log.read_text(), 60)
    assert log.read_text() == "made --task 0\n"


def test_what_waits_in_the_queue_is_not_submitted_again(cluster: Cluster, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "generation" / "submit.py"), "--out", str(tmp_path / "a table")]
    command += ["--seeds", "0", "--throttle", "2"]

    def submit(cells: str, *options: str) -> list[str]:
        said = cluster.run(*command, "--cells", cells, *options)
        return re.findall(r"^job (\d+):", said, flags=re.MULTILINE)

    hold: Callable[..., list[str]] = lambda cells: submit(cells, "--", "-p", "low", "--hold")  # noqa: E731
    first = hold("0-20")
    assert len(first) == 2  # 21 tasks, and the site takes 16 at a time
    assert hold("0-20") == []
    third = hold("0-22")
    assert len(third) == 1
    jobs = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "a table" / "jobs").glob("*/job-*.json")}
    assert jobs == {
        f"job-{first[0]}": {"offset": 0},
        f"job-{first[1]}": {"offset": 16},
        f"job-{third[0]}": {"offset": 0},
    }
    waits = cluster.run("scontrol", "show", "job", first[1])
    assert f"afterany:{first[0]}" in waits  # no more tasks at once than --throttle says, of all arrays together
    cluster.run("scancel", *first, *third)
    cluster.wait_until_done(60)
    again = hold("0-20")
    assert len(again) == 2
    cluster.run("scancel", *again)

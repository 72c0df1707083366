"""Tables made by array jobs of a real Slurm while everything goes wrong: complete, each row once, as undisturbed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, run_program
from run_folders import rows_in
from slurm_cluster import Cluster, why_not

from nasbench_robust.table import RUN_COLUMNS

GENERATION = ROOT / "generation"
CELLS, COUNT = "0-20", 21
CIRCUMSTANCES = {name for name, column in RUN_COLUMNS.items() if column.circumstance}
SMALL = {
    "epochs": 15,
    "batch_size": 128,
    "skeleton": {"channels": 2},
    "attack": {"steps": 1},
    "evaluation": [{"name": "pgd", "eps": 0.1, "steps": 2, "step_size": 0.05, "random_start": True, "restarts": 1}],
}
TORCH = ("--engine", "torch")  # runs long enough to be disturbed, with checkpoints

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "small.json"
    path.write_text(json.dumps(SMALL))
    return path


@pytest.fixture(scope="module")
def undisturbed(settings: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The same table, made in peace on this machine."""
    out = tmp_path_factory.mktemp("undisturbed")
    arguments = ("--out", out, "--settings", settings, "--cells", CELLS, "--seeds", 0, "--workers", 2)
    run_program("run_local.py", *arguments, *TORCH).check_returncode()
    return rows_of(out)


def rows_of(out: Path) -> dict:
    """Return the results of a table by cell and seed; a row that stands twice fails."""
    rows = rows_in(out)
    keys = [(row["index"], row["seed"]) for row in rows]
    assert len(keys) == len(set(keys))
    return {
        key: {name: value for name, value in row.items() if name not in (*CIRCUMSTANCES, "run")}
        for key, row in zip(keys, rows, strict=True)
    }


def submit(cluster: Cluster, out: Path, settings: Path, *more: str, cells: str = CELLS) -> list[str]:
    """Submit what is missing and return the numbers of the jobs."""
    arguments = ["--out", str(out), "--settings", str(settings), "--cells", cells, "--seeds", "0", *TORCH, *more]
    said = cluster.run(sys.executable, str(GENERATION / "submit.py"), *arguments)
    return re.findall(r"^job (\d+):", said, flags=re.MULTILINE)


def running_programs(out: Path) -> list[int]:
    """Return the processes that train for this table."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if "train" in command[:4] and str(out) in command:
                found.append(int(entry.name))
    return found


def test_table_survives_kills_cancellation_preemption_and_a_node_that_restarts(
    cluster: Cluster, settings: Path, undisturbed: dict, tmp_path: Path
) -> None:
    rng = random.Random(0)
    first = submit(cluster, tmp_path, settings)
    assert len(first) == 2  # 21 tasks, and the site takes 16 at a time
    assert submit(cluster, tmp_path, settings) == []  # nothing is there yet, but everything waits
    cluster.wait_for(lambda: len(running_programs(tmp_path)) >= 3, 180)
    time.sleep(rng.uniform(1, 3))
    os.kill(rng.choice(running_programs(tmp_path)), signal.SIGKILL)
    time.sleep(rng.uniform(1, 2))
    cluster.run("scancel", next(job for job, state in cluster.states().items() if state == "RUNNING"))
    urgent = cluster.run("sbatch", "--parsable", "-p", "high", "-n4", "-o", "/dev/null", "--wrap", "sleep 2").strip()
    cluster.wait_for(lambda: cluster.states().get(urgent) == "COMPLETED", 180)
    cluster.wait_for(lambda: len(running_programs(tmp_path)) >= 2 or not cluster.is_busy(), 180)
    time.sleep(rng.uniform(1, 3))
    cluster.kill("slurmd")
    cluster.start_node()
    cluster.wait_until_done(600)
    submit(cluster, tmp_path, settings)  # what the killed and the cancelled task left
    cluster.wait_until_done(400)
    assert submit(cluster, tmp_path, settings) == []
    assert rows_of(tmp_path) == undisturbed
    assert len(undisturbed) == COUNT
    assert not list((tmp_path / "runs").rglob(".*"))


def test_time_limit_checkpoints_and_requeues(cluster: Cluster, tmp_path: Path) -> None:
    long = tmp_path / "long.json"
    long.write_text(json.dumps({**SMALL, "epochs": 400}))
    peace = tmp_path / "peace"
    arguments = ("--index", 3, "--settings", long, *TORCH, "--out", peace)
    run_program("train_cell.py", *arguments, timeout=600).check_returncode()
    out = tmp_path / "limited"
    (job,) = submit(cluster, out, long, "--time", "00:01:00", "--warning", "45", cells="3")
    cluster.wait_for(lambda: (out / "runs").is_dir(), 600)
    cluster.wait_until_done(200)
    log = next((out / "jobs").rglob(f"{job}_0.log")).read_text()
    assert "stopped on request" in log
    assert rows_of(out) == rows_of(peace)


def test_signal_of_the_site_is_enough(cluster: Cluster, settings: Path, undisturbed: dict, tmp_path: Path) -> None:
    (job,) = submit(cluster, tmp_path, settings, cells="3")
    cluster.wait_for(lambda: any((tmp_path / "claims").glob("*.lock")), 180)
    time.sleep(1)
    cluster.run("scancel", "--signal=USR1", "--batch", job)
    cluster.wait_until_done(300)
    log = next((tmp_path / "jobs").rglob(f"{job}_0.log")).read_text()
    assert "stopped on request" in log
    assert rows_of(tmp_path) == {(3, 0): undisturbed[3, 0]}


def test_script_is_what_sbatch_accepts_and_fits_the_site(cluster: Cluster, settings: Path, tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--settings", str(settings), "--cells", "0-39", "--seeds", "0", "1"]
    arguments += ["--runs-per-task", "2", "--throttle", "3", "--dry-run", "--", "--partition=high", "--nice=10"]
    script = cluster.run(sys.executable, str(GENERATION / "submit.py"), *arguments)
    parts = re.findall(r"#!/bin/bash\n.*?(?=#!/bin/bash|\Z)", script, flags=re.DOTALL)
    sizes = [re.search(r"--array=0-(\d+)%3\n", part)[1] for part in parts]
    assert sizes[:-1] == ["15"] * (len(sizes) - 1)
    for number, part in enumerate(parts):
        assert f"SLURM_ARRAY_TASK_ID + {16 * number})" in part
        path = tmp_path / f"{number}.sbatch"
        path.write_text(part)
        cluster.run("sbatch", "--test-only", str(path))
    assert not (tmp_path / "jobs").exists()


def test_refusal_of_the_site_is_one_sentence(cluster: Cluster, settings: Path, tmp_path: Path) -> None:
    arguments = ("--out", tmp_path, "--cells", 3, "--", "--partition=gone")
    done = run_program("submit.py", *arguments, env=cluster.environment)
    assert done.returncode == 2
    assert "invalid partition" in done.stderr
    assert "Traceback" not in done.stderr

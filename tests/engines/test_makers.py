"""A checkpoint belongs to who makes it: another build or version starts again; what cannot be read now stays."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, StopAt

from nasbench_robust.cells import Cell
from nasbench_robust.cli import main
from nasbench_robust.engines import finished_epochs, load_state, provenance, save_state
from nasbench_robust.errors import InvalidValueError, RunInterruptedError, UnreadableError
from nasbench_robust.images import Images, load_images
from nasbench_robust.metrics import fgsm, pgd
from nasbench_robust.native import BUILDS, is_available, library
from nasbench_robust.runs import run_cell
from nasbench_robust.search.arnas.runs import StagedCells, run_architecture
from nasbench_robust.search.supernet import run_search, search_settings_for
from nasbench_robust.settings import settings_for
from nasbench_robust.table import shard_name

CELL = Cell.from_index(9930)
TINY = replace(
    settings_for("digits"),
    epochs=2,
    batch_size=16,
    attack=pgd(0.1, steps=1),
    evaluation=(fgsm(0.1),),
    skeleton=replace(settings_for("digits").skeleton, channels=2, cells_per_stage=1),
)
SEARCH = search_settings_for("digits", epochs=8, one_shot_cells=0, batch_size=16)
SEARCH = replace(SEARCH, skeleton=TINY.skeleton)
WORKS = [*(["native"] if is_available() else []), "torch", "search", "genotype"]  # the other engines are torch's
WORK = WORKS[0]
each_work = pytest.mark.parametrize("work", WORKS)
USABLE = [name for name in BUILDS if library._path(name) is not None and library._is_supported(name)]
CODES = ("EACCES", "ESTALE", "EIO", "EMFILE", "ENFILE", "ENOMEM", "EPERM", "ETIMEDOUT", "ENOTCONN", "EREMOTEIO")


@pytest.fixture(scope="module")
def few() -> Images:
    digits = load_images("digits")
    return Images("digits", digits.train[:62], digits.test[:40], digits.validation[:24])


def make(work: str, few: Images, path: Path | None = None, should_stop: Callable[[], bool] = lambda: False) -> Any:
    """Make something of every kind that has checkpoints; return what it is, without the time that it took."""
    options: dict[str, Any] = {"checkpoint": path, "should_stop": should_stop}
    if work == "search":
        record = run_search(SEARCH, few, 1, **options)
        return record["history"], record["argmax"], record["versions"]
    if work == "genotype":
        result = run_architecture(StagedCells.of(CELL, Cell.from_index(77)), TINY, few, 1, **options)
        return result["curve"], result["accuracies"], result["versions"]
    run = run_cell(CELL, TINY, few, 1, engine=work, **options)
    return run.curve, [outcome.tolist() for outcome in run.outcomes.values()], run.row["versions"]


def stopped(work: str, few: Images, path: Path) -> bytes:
    """Stop in the middle; return the checkpoint."""
    with pytest.raises(RunInterruptedError):
        make(work, few, path, StopAt(6))
    return path.read_bytes()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------ another maker


@each_work
def test_another_version_starts_again_and_loses_nothing(work, few, tmp_path, monkeypatch, caplog) -> None:
    path, expected = tmp_path / "run.ckpt", make(work, few)
    with monkeypatch.context() as patched:
        patched.setattr(provenance, "__version__", "0.0.9")
        content = stopped(work, few, path)
    asked = StopAt(0)
    assert make(work, few, path, asked) == expected
    (line,) = [record.getMessage() for record in caplog.records if record.name.endswith("checkpoints")]
    assert "made by nasbench-robust 0.0.9, " in line
    assert "and this is nasbench-robust 0.1.0, " in line
    assert "starts again; the checkpoint is kept as run.ckpt.other" in line
    assert "\n" not in line
    assert (tmp_path / "run.ckpt.other").read_bytes() == content
    whole = StopAt(0)
    make(work, few, None, whole)
    assert asked.asked == whole.asked  # all steps were taken


@each_work
def test_a_checkpoint_that_names_no_maker_starts_again(work, few, tmp_path, caplog) -> None:
    """As all were until they did."""
    path, expected = tmp_path / "run.ckpt", make(work, few)
    stopped(work, few, path)
    state = load_state(path)
    del state["maker"]
    save_state(state, path)
    content = path.read_bytes()
    assert make(work, few, path) == expected
    assert "made by a version that did not say which it was, and this is nasbench-robust" in caplog.text
    assert (tmp_path / "run.ckpt.other").read_bytes() == content


@each_work
def test_another_processor_or_python_goes_on(work, few, tmp_path, monkeypatch, caplog) -> None:
    path, whole = tmp_path / "run.ckpt", StopAt(0)
    expected = make(work, few, None, whole)
    stopped(work, few, path)
    monkeypatch.setattr(provenance, "processor", lambda: "another one")
    monkeypatch.setattr(provenance.platform, "python_version", lambda: "3.99")
    left = StopAt(0)
    assert make(work, few, path, left)[:2] == expected[:2]
    assert left.asked < whole.asked - 3
    assert not caplog.records
    assert not [name for name in names(tmp_path) if name != "run.ckpt"]


@each_work
def test_another_run_and_another_device_are_refused_whoever_made_them(work, few, tmp_path) -> None:
    path = tmp_path / "run.ckpt"
    stopped(work, few, path)
    state = load_state(path)
    for entry, expected in (("device", "cuda"), "use --device cuda"), (("key", ["x"]), "expected a state of the "):
        for maker in (state["maker"], "somebody else", None):
            save_state({**state, "maker": maker, entry[0]: entry[1]}, path)
            content = path.read_bytes()
            with pytest.raises(InvalidValueError, match=expected):
                make(work, few, path)
            assert path.read_bytes() == content
            assert names(tmp_path) == ["run.ckpt"]


@pytest.mark.parametrize("work", ["torch", "search", "genotype"])
def test_another_number_of_threads_starts_again(work, few, tmp_path, monkeypatch, caplog) -> None:
    path, threads = tmp_path / "run.ckpt", torch.get_num_threads()
    stopped(work, few, path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    assert make(work, few, path) == make(work, few)
    assert f"with {threads} thread(s), and this is " in caplog.text


# One run of a cell: by which engine, where its checkpoint is, and after how many questions it is to stop (0: never).
PROGRAM = """
import json, sys
from pathlib import Path
from test_makers import Images, StopAt, RunInterruptedError, load_images, make
digits = load_images("digits")
few = Images("digits", digits.train[:62], digits.test[:40], digits.validation[:24])
try:
    curve, outcomes, versions = make(sys.argv[1], few, Path(sys.argv[2]), StopAt(int(sys.argv[3])))
    print(json.dumps([repr(curve), outcomes, versions]))
except RunInterruptedError:
    print("null")
"""


def elsewhere(variables: dict[str, str], engine: str, path: Path, stop: int = 0) -> tuple[Any, str]:
    """Make the run in a process of its own; return it, and what was said."""
    kept = {name: value for name, value in os.environ.items() if name != library.BUILD_VARIABLE}
    paths = os.pathsep.join(map(str, (ROOT / "src", ROOT / "tests", ROOT / "tests" / "engines")))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, engine, str(path), str(stop)],
        env={**kept, "PYTHONPATH": paths, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout), done.stderr


MACHINES = [
    pytest.param(
        *("native", [{library.BUILD_VARIABLE: name} for name in USABLE[-2:]]),
        marks=pytest.mark.skipif(len(USABLE) < 2, reason="a processor, or a compiler, of one build only"),
    ),
    pytest.param(
        *("torch", [{"ATEN_CPU_CAPABILITY": "default"}, {}]),
        marks=pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="torch has one build"),
    ),
]


@pytest.mark.parametrize(("engine", "machines"), MACHINES)
def test_a_run_that_moves_between_builds_is_that_of_the_last_one(engine, machines, tmp_path) -> None:
    """Or that of the first one, where it moves back and the checkpoint gets its name again."""
    path = tmp_path / "run.ckpt"
    wholes = [elsewhere(machine, engine, tmp_path / "none")[0] for machine in machines]
    assert wholes[0][2] != wholes[1][2]
    first, second = machines
    assert elsewhere(first, engine, path, 6)[0] is None
    content = path.read_bytes()
    found, said = elsewhere(second, engine, path)
    assert found == wholes[1]
    assert len(said.splitlines()) == 1
    assert all(provenance.maker(whole[2]) in said for whole in wholes)
    os.replace(tmp_path / "run.ckpt.other", path)
    assert path.read_bytes() == content
    assert elsewhere(first, engine, path) == (wholes[0], "")


@each_work
def test_a_run_stopped_at_any_moment_is_taken_up_by_its_maker(work, few, tmp_path, caplog) -> None:
    """Also while the end of an epoch is measured."""
    asked, path = StopAt(0), tmp_path / "run.ckpt"
    expected = make(work, few, None, asked)
    for moment in range(2, asked.asked, max(1, asked.asked // 8)):
        with pytest.raises(RunInterruptedError):
            make(work, few, path, StopAt(moment))
        assert make(work, few, path) == expected
        path.unlink()
    assert not caplog.records
    assert not names(tmp_path)


# ------------------------------------------------------------------ unreadable now is not damaged


def failing(error: BaseException, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of paths that fails at checkpoints."""

    def fail(path: Path, *more: Any) -> Any:
        if path.suffix == ".ckpt":
            raise error
        return method(path, *more)

    return fail


@pytest.mark.parametrize("code", [*CODES, "MemoryError"])
def test_a_checkpoint_that_cannot_be_read_now_stays(code, few, tmp_path, monkeypatch) -> None:
    number = getattr(errno, code, None)
    error = OSError(number, os.strerror(number)) if number else MemoryError()
    path = tmp_path / "run.ckpt"
    content = stopped(WORK, few, path)
    questions = [lambda: load_state(path), lambda: finished_epochs(path), lambda: make(WORK, few, path)]
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", failing(error, Path.read_bytes))
        for ask in questions:
            with pytest.raises(UnreadableError) as caught:
                ask()
            assert str(caught.value).startswith(f"cannot read {path} now (")
            assert (os.strerror(number) if number else "MemoryError") in str(caught.value)
    assert names(tmp_path) == ["run.ckpt"]
    assert path.read_bytes() == content
    assert make(WORK, few, path) == make(WORK, few)


@pytest.mark.parametrize("work", [WORK, "search"])
def test_too_little_memory_to_unpack_a_checkpoint_leaves_it(work, few, tmp_path, monkeypatch) -> None:
    path = tmp_path / "run.ckpt"
    content = stopped(work, few, path)

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(np, "load", fail)
        for ask in (lambda: make(work, few, path), lambda: finished_epochs(path)):
            with pytest.raises(UnreadableError, match=r"cannot read .*run\.ckpt now \(MemoryError\); nothing is lost"):
                ask()
    assert names(tmp_path) == ["run.ckpt"]
    assert path.read_bytes() == content


class AskedError(Exception):
    """As the handler of a signal raises it."""


@each_work
@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error"), AskedError()]
)
def test_what_happens_while_a_state_is_taken_up_is_not_its_fault(error, work, few, tmp_path, monkeypatch) -> None:
    path = tmp_path / "run.ckpt"
    content = stopped(work, few, path)

    def fail(*_: object) -> None:
        raise error

    for place in ("engines.native.training.check_form", "engines.torch.training.check_form"):
        monkeypatch.setattr(f"nasbench_robust.{place}", fail)
    monkeypatch.setattr("nasbench_robust.search.supernet.bilevel.check_form", fail)
    with pytest.raises(AskedError if type(error) is AskedError else UnreadableError) as caught:
        make(work, few, path)
    assert type(error) is AskedError or str(path) in str(caught.value)
    assert names(tmp_path) == ["run.ckpt"]
    assert path.read_bytes() == content


def test_commands_say_it_in_a_sentence(few, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(TINY.to_dict()))
    checkpoint = tmp_path / "out" / "checkpoints" / f"{shard_name(TINY, CELL.representative, 0)}.ckpt"
    checkpoint.mkdir(parents=True)  # what no one can read as a file
    cell = ["--settings", str(tmp_path / "settings.json"), "--out", str(tmp_path / "out")]
    asked = (["train", "--index", "9930", "--seed", "0"], ["status", "--cells", "9930", "--seeds", "0"])
    for command in asked:
        capsys.readouterr()
        assert main([*command, *cell]) == 2
        said = capsys.readouterr().err
        assert f"cannot read {checkpoint} now (Is a directory); nothing is lost" in said
        assert "Traceback" not in said
    assert checkpoint.is_dir()


# ------------------------------------------------------------------ what is set aside


def test_what_is_set_aside_replaces_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    path = tmp_path / "run.ckpt"
    for number in range(4):
        path.write_bytes(b"%d" % number)
        assert load_state(path) is None
    kept = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    assert kept == {
        "run.ckpt.damaged": b"0",
        **{f"run.ckpt.damaged-{number + 1}": b"%d" % number for number in (1, 2, 3)},
    }
    assert caplog.text.count("set aside as run.ckpt.damaged-4") == 1


@pytest.mark.parametrize("work", [work for work in WORKS if work in ("native", "torch")])
def test_a_run_begins_anew_where_only_a_part_of_its_state_is_one(work, few, tmp_path, monkeypatch) -> None:
    """The trainer has taken up its part by then, a measurement in its middle."""
    monkeypatch.setattr("nasbench_robust.engines.native.evaluation.PIXELS", 16 * 64)
    path, expected, seen = tmp_path / "run.ckpt", make(work, few), 0
    for moment in range(3, 11):
        with pytest.raises(RunInterruptedError):
            make(work, few, path, StopAt(moment))
        state = load_state(path)
        seen += any(state["training"]["kept"].values() if work == "torch" else state["training"]["measured"])
        del state["eval_seconds"]
        save_state(state, path)
        assert make(work, few, path) == expected
        path.unlink(missing_ok=True)
    assert seen > 1
    assert len(names(tmp_path)) == 8


def test_a_checkout_says_which_commit_it_is() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no checkout, or no git")
    head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    assert provenance.revision().removesuffix("-dirty") == head.strip()

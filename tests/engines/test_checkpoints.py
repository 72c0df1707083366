"""Checkpoints that are well formed and not as expected: the run starts again, whatever is wrong with them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import run_python

from nasbench_robust.cells import Cell
from nasbench_robust.engines import load_state, save_state
from nasbench_robust.engines.checkpoints import check_form
from nasbench_robust.engines.curves import Epoch, resumed_curve
from nasbench_robust.errors import RunInterruptedError
from nasbench_robust.files.atomic import unfinished
from nasbench_robust.images import Images, load_images
from nasbench_robust.metrics import fgsm
from nasbench_robust.runs import run_cell
from nasbench_robust.search.supernet import run_search, search_settings_for
from nasbench_robust.settings import settings_for

SETTINGS = replace(settings_for("digits"), epochs=2, batch_size=32, evaluation=(fgsm(0.1),))
SEARCH = search_settings_for("digits", epochs=1, one_shot_cells=0, batch_size=16)


@pytest.fixture(scope="module")
def few() -> Images:
    digits = load_images("digits")
    return Images("digits", digits.train[:80], digits.test[:40], digits.validation[:40])


def stop_after(number: int) -> Callable[[], bool]:
    asked = iter(range(number))
    return lambda: next(asked, None) is None


def run(engine: str, few: Images, path: Path, should_stop: Callable[[], bool] = lambda: False) -> Any:
    if engine == "search":
        record = run_search(SEARCH, few, 0, checkpoint=path, should_stop=should_stop)
        return [epoch["alpha"] for epoch in record["history"]]
    cell = Cell.from_index(9930)
    return run_cell(cell, SETTINGS, few, 0, engine=engine, checkpoint=path, should_stop=should_stop).curve


def places(state: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything in a state."""
    inside = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    for key, value in inside:
        yield (*way, key)
        yield from places(value, (*way, key))


def wounded(state: dict, way: tuple[Any, ...], how: str) -> dict:
    """Return a state with one thing in it removed, or made another one."""
    state = copy.deepcopy(state)
    holder: Any = state
    for key in way[:-1]:
        holder = holder[key]
    value = holder[way[-1]]
    if how == "lost":
        del holder[way[-1]]
    elif how == "text":
        holder[way[-1]] = "x"
    elif how == "shape":
        holder[way[-1]] = np.zeros((3, 1, 2), np.float32) if isinstance(value, np.ndarray) else [[value]]
    else:
        holder[way[-1]] = value + 10**9 if type(value) in (int, float) else -1
    return state


@pytest.mark.parametrize("engine", ["native", "torch", "search"])
def test_a_state_that_is_not_as_expected_is_set_aside(engine: str, few: Images, tmp_path: Path, caplog) -> None:
    """An entry is lost, a text, of another shape, or too large: the run ends, from the beginning or from the state."""
    caplog.set_level(logging.ERROR)
    path, expected = tmp_path / "run.ckpt", run(engine, few, tmp_path / "none")
    with pytest.raises(RunInterruptedError):
        run(engine, few, path, stop_after(1 if engine == "search" else 4))
    state = load_state(path)
    path.unlink()
    ways = [way for way in places(state) if way[0] != "key"]
    rng, again = np.random.default_rng(0), 0
    for number in range(24):
        way, how = ways[rng.integers(len(ways))], ("lost", "text", "shape", "large")[number % 4]
        save_state(wounded(state, way, how), path)
        result = run(engine, few, path)
        assert len(result) == len(expected), (way, how)
        aside = path.with_name("run.ckpt.damaged")
        if aside.exists():  # else something that no check can know, another loss say
            assert result == expected, (way, how)
            aside.unlink()
            again += 1
        path.unlink(missing_ok=True)
    assert again >= 12


@pytest.mark.parametrize(
    ("name", "value"), [("sums", [10**9, 0, 0.0]), ("sums", [-1, 0, 0.0]), ("curve", [{"epoch": 1}]), ("draws", {})]
)
@pytest.mark.parametrize("engine", ["native", "torch"])
def test_sums_and_curves_of_no_such_run_are_set_aside(engine, name, value, few, tmp_path, caplog) -> None:
    path, expected = tmp_path / "run.ckpt", run(engine, few, tmp_path / "none")
    with pytest.raises(RunInterruptedError):
        run(engine, few, path, stop_after(4))
    state = load_state(path)
    state["training"][name] = value
    save_state(state, path)
    assert run(engine, few, path) == expected
    assert (tmp_path / "run.ckpt.damaged").exists()
    assert "set aside as run.ckpt.damaged" in caplog.text


@pytest.mark.parametrize(
    ("state", "fresh", "problem"),
    [
        ({"weights": np.zeros(3)}, {"weights": np.zeros(4)}, r"^state, weights is not of float64 in the shape \(4,\)"),
        ({"weights": [0.0] * 4}, {"weights": np.zeros(4)}, r"^state, weights is not of float64 in the shape \(4,\)"),
        ({"sums": [0, 1]}, {"sums": [0, 1, 2]}, "^state, sums is not a list of 3"),
        ({"rate": "0.1"}, {"rate": 0.1}, "^state, rate is a str, not a float"),
        ({"other": 1}, {"rate": 0.1}, "^state has not the entries rate"),
        ({"curve": 3}, {"curve": []}, "^state, curve is a int, not a list"),
    ],
)
def test_a_state_of_another_form_is_told_where(state, fresh, problem) -> None:
    with pytest.raises(ValueError, match=problem):
        check_form(state, fresh)
    check_form(fresh, fresh)


def test_a_curve_of_more_epochs_than_the_run_is_none_of_it() -> None:
    curve = [vars(Epoch(epoch, 0.1, 2.0, 0.2, 0.3, 0.1)) for epoch in (1, 2, 3)]
    assert [epoch.epoch for epoch in resumed_curve(curve, 0, 3, 64)] == [1, 2, 3]
    for epochs, done in ((2, 0), (2, 10)):
        with pytest.raises(ValueError, match="a curve of 3 epochs in a run of 2"):
            resumed_curve(curve, done, epochs, 64)
    with pytest.raises(ValueError, match="10 of 64 images done"):
        resumed_curve(curve, 10, 3, 64)


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    save_state({"array": np.arange(4.0), "text": "some"}, path)
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        assert load_state(path) is None, position


def test_a_checkpoint_of_an_earlier_version_is_recognised_and_set_aside(tmp_path: Path, caplog) -> None:
    with open(tmp_path / "run.ckpt", "wb") as file:
        np.savez(file, skeleton=np.array('{"dict": []}'))
    assert load_state(tmp_path / "run.ckpt") is None
    assert "not a checkpoint of this version" in caplog.text


def test_a_checkpoint_that_cannot_be_read_now_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state({"text": "some"}, tmp_path / "run.ckpt")

    def fail(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", fail)
        with pytest.raises(OSError, match="Input/output"):
            load_state(tmp_path / "run.ckpt")
    assert load_state(tmp_path / "run.ckpt") == {"text": "some"}


def test_what_is_compressed_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file behind a right checksum may still be made to fill the memory."""
    monkeypatch.setattr(np, "savez", np.savez_compressed)
    save_state({"array": np.zeros(10**6)}, tmp_path / "run.ckpt")
    assert load_state(tmp_path / "run.ckpt") is None


HALF_WRITTEN = """
import sys
from pathlib import Path
from nasbench_robust.files.atomic import unfinished
unfinished(Path(sys.argv[1])).touch()
"""


def test_what_a_killed_process_left_half_written_is_swept_and_nothing_else(few: Images, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    run_python(HALF_WRITTEN, str(path))
    mine = unfinished(path)  # of a process that lives
    mine.touch()
    assert len(list(tmp_path.iterdir())) == 2
    run("search", few, path)
    assert [each for each in tmp_path.iterdir() if each.suffix == ".tmp"] == [mine]

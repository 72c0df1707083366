"""How far work is, in a log and on a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from nasbench_robust.engines import Epoch, Step
from nasbench_robust.runs import progress, total_progress, unit_progress

EPOCH = Epoch(2, 0.1, 1.5, 0.4, 0.5, 0.25)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.delenv(progress.QUIET_VARIABLE, raising=False)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_a_line_at_every_epoch_and_one_a_minute(clock: list[float], capsys) -> None:
    with unit_progress(10, "cell 3") as show:
        for second in range(0, 180, 10):
            clock[0] = second
            show(Step("autoattack_acc@0.1", 2, 4))
        clock[0] = 190
        show(EPOCH)
        show(Epoch(3, 0.1, 1.5, 0.4, 0.5, 0.25))
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["cell 3: autoattack_acc@0.1, 2 of 4"] * 2
    assert lines[2] == "cell 3: epoch 2 of 10, loss 1.500, clean 0.500, pgd 0.250, about 25 min left"
    assert lines[3].startswith("cell 3: epoch 3 of 10")
    assert len(lines) == 4


def test_a_whole_has_a_line_a_minute_with_the_time_left(clock: list[float], capsys) -> None:
    with total_progress(100, 20, "runs") as show:
        for second in range(0, 130, 1):
            clock[0] = second
            show(20 + second // 3)
    assert capsys.readouterr().err.splitlines() == [
        "40 of 100 runs, about 3 min left",
        "60 of 100 runs, about 2 min left",
    ]


def test_a_worker_leaves_it_to_its_parent(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv(progress.QUIET_VARIABLE, "1")
    with unit_progress(10, "cell 3") as show:
        show(EPOCH)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_one_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.delenv(progress.QUIET_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with unit_progress(10, "cell 3") as show:
        show(EPOCH)
        show(Step("autoattack_acc@0.1", 2, 4))
    assert "autoattack_acc@0.1, 2 of 4" in sys.stderr.getvalue()
    with total_progress(100, 20, "runs") as count:
        count(50)
    assert "50/100" in sys.stderr.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(3, "3 s"), (600, "10 min"), (36000, "10.0 h")])
def test_times_are_told_as_people_do(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text

"""Who is asked to make a run again, and what a task leaves behind."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import pytest

from nasbench_robust.runs import Unit, claim, local, make, slurm
from nasbench_robust.runs.jobs import EXIT_INTERRUPTED, EXIT_REQUEUE, Signals, stopped


@pytest.fixture
def requeued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    monkeypatch.setattr(slurm, "requeue", asked.append)
    return asked


@pytest.mark.parametrize(
    ("number", "job", "expected"),
    [(signal.SIGUSR1, "17", ["17"]), (signal.SIGTERM, "17", []), (signal.SIGUSR1, None, [])],
)
def test_slurm_is_asked_again_on_its_own_notice_alone(number, job, expected, requeued, monkeypatch) -> None:
    if job is None:
        monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    else:
        monkeypatch.setenv("SLURM_JOB_ID", job)
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        signals = Signals()
        assert not signals.should_stop()
        signal.raise_signal(number)
        assert signals.should_stop()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert stopped(signals) == EXIT_REQUEUE
    assert requeued == expected


def test_a_first_ctrl_c_asks_and_a_second_ends(monkeypatch) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    try:
        signals = Signals(ctrl_c=True)
        signal.raise_signal(signal.SIGINT)
        assert signals.should_stop()
        assert stopped(signals) == EXIT_INTERRUPTED
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        Signals(ctrl_c=True)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class Notes:
    """A job whose units are names, and whose results are notes of their making."""

    epochs = 1

    def __init__(self, folder: Path, signals: Signals) -> None:
        self.folder, self.signals, self.made = folder, signals, list[str]()

    def name(self, unit: str) -> str:
        return unit

    label = summary = name

    def is_done(self, unit: str) -> bool:
        return (self.folder / unit).exists()

    def run(self, unit: str, checkpoint: Path, progress, should_stop) -> str:
        checkpoint.parent.mkdir(exist_ok=True)
        checkpoint.write_text("half")
        if unit == "last":
            self.signals.received.add(signal.SIGTERM)
        self.made.append(unit)
        return unit

    def write(self, unit: str, result: str) -> Path:
        (self.folder / unit).write_text(result)
        return self.folder / unit


@contextlib.contextmanager
def no_bar(_epochs: int, _label: str):
    yield lambda _: None


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notes:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    signals = Signals.__new__(Signals)
    signals.received = set()
    return Notes(tmp_path, signals)


def test_units_are_made_once_and_leave_no_checkpoint(notes: Notes) -> None:
    said: list[str] = []
    assert make(notes, ["one", "two", "one"], notes.signals, say=said.append, bar=no_bar) == 0
    assert notes.made == ["one", "two"]
    assert said[-1] == f"one: already in {notes.folder}"
    assert list((notes.folder / "checkpoints").iterdir()) == []


def test_a_unit_that_another_process_is_at_is_left_to_it(notes: Notes) -> None:
    said: list[str] = []
    with claim(notes.folder, "one"):
        assert make(notes, ["one", "two"], notes.signals, say=said.append, bar=no_bar) == 0
    assert notes.made == ["two"]
    assert said[0] == "one: another process is making it"


def test_a_signal_ends_the_work_behind_the_unit_under_way(notes: Notes) -> None:
    assert make(notes, ["one", "last", "two"], notes.signals, say=print, bar=no_bar) == EXIT_REQUEUE
    assert notes.made == ["one", "last"]
    assert (notes.folder / "last").exists()
    notes.signals.received.clear()
    assert make(notes, ["last", "two"], notes.signals, say=print, bar=no_bar) == 0


def test_a_signal_within_the_last_unit_is_told(notes: Notes) -> None:
    assert make(notes, ["last"], notes.signals, say=print, bar=no_bar) == EXIT_REQUEUE


def test_workers_begin_with_their_share_and_end_with_those_of_others() -> None:
    units = [Unit(index, 0) for index in range(7)]
    shares = local._share(units, 3)
    assert [[unit.index for unit in share] for share in shares] == [
        [0, 3, 6, 1, 4, 2, 5],
        [1, 4, 2, 5, 0, 3, 6],
        [2, 5, 0, 3, 6, 1, 4],
    ]

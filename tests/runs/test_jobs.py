"""Who is asked to make a run again, and what a task leaves behind."""

from __future__ import annotations

import signal

import pytest

from nasbench_robust.runs import slurm
from nasbench_robust.runs.jobs import EXIT_REQUEUE, Signals, stopped


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

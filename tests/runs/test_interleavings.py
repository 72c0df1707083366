"""Workers, collectors, compactors and a reader that stop at every operation on files, in any interleaving."""

from __future__ import annotations

import datetime
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_steps import small_tables, watched
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from processes import PATIENCE

import nasbench_robust as nbr
from nasbench_robust.cells import Cell
from nasbench_robust.engines import Epoch
from nasbench_robust.errors import MissingDataError
from nasbench_robust.files import latest
from nasbench_robust.metrics import fgsm, pgd
from nasbench_robust.runs import Run, collect, collecting, compact, is_done, write_run
from nasbench_robust.settings import settings_for
from nasbench_robust.table import open_table, verify

SETTINGS = replace(settings_for("digits"), epochs=1, attack=pgd(0.1, steps=1), evaluation=(fgsm(0.1),))
CELLS = (7, 8, 9)
MANY = 10_000  # operations: to the end
ACTORS = ("worker 0", "worker 1", "collector 0", "collector 1", "compactor 0", "compactor 1", "reader")
MEMORY = "/dev/shm"  # where to flush costs nothing
OTHERS = (("worker 1", 8), ("compactor 1", 8), ("collector 1", 8), ("worker 1", 9), ("collector 1", 9))
_here = threading.local()


def made(cell: int, worker: int) -> Run:
    """Return a worker's making of a run: two of them differ, as those of two kinds of CPU do."""
    rng = np.random.default_rng([cell, worker])
    outcomes = {metric: rng.random(16) < 0.5 for metric in SETTINGS.metrics}
    row: dict[str, Any] = {"dataset": "digits", "index": cell, "seed": 0, "seeds": 1, "test_images": 16}
    row |= {"settings": SETTINGS.hash, "date": datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)}
    for metric, outcome in outcomes.items():
        row |= {metric.count_column: int(outcome.sum()), metric.column: float(outcome.mean())}
    return Run(row, [Epoch(1, *rng.random(5))], outcomes)


class Actor:
    """Work in a thread that stops before and after every operation on files, until it is told to go on."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.ended, self.result, self.error = False, None, None
        self._go, self._stopped, self._work = threading.Semaphore(0), threading.Semaphore(0), work
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        _here.actor = self
        self._go.acquire()
        try:
            self.result = self._work()
        except BaseException as error:
            self.error = error
        self.ended = True
        self._stopped.release()

    def stop(self) -> None:
        self._stopped.release()
        self._go.acquire()

    def go(self) -> None:
        self._go.release()
        assert self._stopped.acquire(timeout=PATIENCE)


def stop_actor(_: str) -> None:
    actor = getattr(_here, "actor", None)
    if actor is not None:
        actor.stop()


def runs_in(place: Path) -> dict[int, str]:
    """Return who the run of every cell is, as a reader finds it."""
    table = open_table(place).read(["index", "run"])
    found = dict(zip(table["index"].to_pylist(), table["run"].to_pylist(), strict=True))
    assert len(found) == table.num_rows, "a run stands twice"
    return found


def load_runs(place: Path) -> dict[int, str]:
    table = nbr.load(place)._store.reader.read(["index", "run"])
    return dict(zip(table["index"].to_pylist(), table["run"].to_pylist(), strict=True))


def of_one_state(place: Path) -> dict[int, str]:
    """Return the runs of a folder's or a release's tables, which are of one state."""
    source = collecting.read_folder(place, collecting.Collected())
    if source is None:
        raise MissingDataError("no runs", "wait")
    sets = [set(zip(t["index"].to_pylist(), t["run"].to_pylist(), strict=True)) for t in source.tables.values()]
    assert len(sets) == 3, list(source.tables)
    assert sets[0] == sets[1] == sets[2]
    return dict(sets[0])


class Interleavings(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patches = ExitStack()
        place = MEMORY if os.access(MEMORY, os.W_OK) else None
        self.place = Path(self.patches.enter_context(tempfile.TemporaryDirectory(dir=place)))
        self.folder, self.release = self.place / "runs", self.place / "release"
        self.actors: dict[str, Actor] = {}
        self.first: dict[int, str] = {}  # of every cell the run that was there first
        self.states: dict[int, dict[int, str]] = {}  # of the release
        self.before: dict[str, Any] = {}  # what there was when an actor began

    @initialize()
    def begin(self) -> None:
        self.patches.enter_context(small_tables())
        self.patches.enter_context(watched(stop_actor, reads=True))

    @rule(who=st.sampled_from(ACTORS), cell=st.sampled_from(CELLS), steps=st.sampled_from([1, 3, 10, 40, 400]))
    def go_on(self, who: str, cell: int, steps: int) -> None:
        if who not in self.actors:
            self.actors[who] = Actor(self._work(who, cell))
            self.before[who] = dict(self.first), max(self.states, default=0)
        for _ in range(steps):
            self.actors[who].go()
            if self.actors[who].ended:
                self._end(who, self.actors.pop(who))
                break

    def _work(self, who: str, cell: int) -> Callable[[], Any]:
        kind, _, number = who.partition(" ")

        def work() -> None:
            if not is_done(self.folder, SETTINGS, Cell.from_index(cell), 0):
                write_run(made(cell, int(number)), SETTINGS, self.folder)

        places = {7: self.folder, 8: self.release, 9: self.release}
        read = of_one_state if cell < 9 else load_runs
        jobs = {"collector": lambda: collect([self.folder], self.release), "compactor": lambda: compact(self.folder)}
        return {"worker": work, "reader": lambda: (places[cell], read(places[cell])), **jobs}[kind]

    def _end(self, who: str, actor: Actor) -> None:
        """Look at what an actor did."""
        (there, number), kind = self.before[who], who.partition(" ")[0]
        if isinstance(actor.error, MissingDataError) and (not there or (kind == "reader" and not number)):
            return
        if actor.error is not None:
            raise actor.error
        self.see()
        if kind == "collector":
            assert there.items() <= self.states[max(self.states)].items()
        elif kind == "reader" and actor.result[0] == self.folder:
            assert there.items() <= actor.result[1].items() <= self.first.items()
        elif kind == "reader":
            assert actor.result[1] in [state for other, state in self.states.items() if other >= number]

    @invariant()
    def see(self) -> None:
        """A reader finds every run that was there, the first one, and the tables of one state."""
        try:
            now = runs_in(self.folder)
        except MissingDataError:
            now = {}
        assert self.first.items() <= now.items()
        self.first = now
        if now:
            assert verify(self.folder) == []
        if (state := latest(self.release)) is not None:
            now = of_one_state(self.release)
            assert verify(self.release) == []
            assert now.items() <= self.first.items()
            assert self.states.setdefault(state.number, now) == now
            older = [other for number, other in self.states.items() if number < state.number]
            assert all(other.items() <= now.items() for other in older), "the release lost runs"
            if not any(who.startswith("collector") for who in self.actors):
                assert all((self.release / name).resolve() == state.folder / name for name in state.files)

    def teardown(self) -> None:
        try:
            for who in sorted(self.actors):
                self.go_on(who, 0, MANY)
            self.see()
            if self.first:
                compact(self.folder)
                collect([self.folder], self.release)
                assert of_one_state(self.folder) == of_one_state(self.release) == self.first
                assert not list((self.folder / "runs").rglob("*.parquet"))
                assert not list(self.place.rglob(".*.tmp"))
        finally:
            self.patches.close()


@pytest.mark.parametrize("first", ["collector 0", "compactor 0", "reader", "worker 0"])
def test_others_may_do_all_they_do_at_any_operation_of_one(first):
    for steps in count(0, 3):
        machine = Interleavings()
        machine.begin()
        for who in ("worker 0", "collector 1"):
            machine.go_on(who, 7, MANY)
        machine.go_on(first, 8, steps)
        ended = first not in machine.actors
        for who, cell in OTHERS[: 3 + 2 * (steps % 2)]:  # one more state of the release, or two
            machine.go_on(who, cell, MANY)
        machine.see()
        machine.teardown()
        if ended:
            return


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=25, stateful_step_count=60, deadline=None)

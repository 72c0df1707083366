"""Any number of threads may ask a public object, fresh or not; benchmarks/threads.py does the same at full size."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from processes import PATIENCE, run_python

import nasbench_robust as nbr
from nasbench_robust.errors import BudgetSpentError
from nasbench_robust.search import Budget, Simulator, TableProblem


def together(work: Callable[[int], Any], threads: int = 16) -> list[Any]:
    """Return what threads that start at the same moment return, each for its number."""
    start = threading.Barrier(threads, timeout=PATIENCE)

    def wait(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(wait, range(threads)))


@pytest.mark.parametrize("release", ["digits", "made up"])
def test_fresh_tables_answer_many_threads(load_program, made_up_table, release):
    path = nbr.releases.locate() if release == "digits" else made_up_table
    program = load_program("benchmarks/threads")
    assert program.ask_together(lambda: nbr.load(path), 24, 6) == []


def test_the_program_of_threads_reports(load_program, capsys):
    assert load_program("benchmarks/threads").main(["--threads", "4", "--rounds", "1", "--releases", "digits"]) == 0
    assert capsys.readouterr().out.startswith("digits: 4 threads x 1 rounds, 0 faults")


def test_threads_of_a_fresh_process_may_be_the_first_to_import_anything():
    """Doors, caches of cells and the table are all filled by whoever comes first."""
    program = """
import threading, nasbench_robust as nbr
from importlib import import_module
faults, start = [], threading.Barrier(24)
doors = [lambda: nbr.load().query(9930, metric="pgd_acc"), lambda: nbr.cells.families()[5], lambda: nbr.load().frame(),
         lambda: nbr.search.TableProblem(nbr.load(), "pgd_acc").optimum, lambda: nbr.Cell.from_index(5).representative,
         lambda: nbr.native.is_available(), lambda: nbr.statistics.spearman, lambda: nbr.metrics.pgd(0.1)]
def work(number):
    start.wait()
    try: doors[number % len(doors)]()
    except Exception as error: faults.append(repr(error))
threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
print(faults)
"""
    for _ in range(3):
        assert run_python(program) == "[]\n"


def test_caches_of_cells_are_whole_whoever_fills_them():
    from nasbench_robust import cells

    makers = (cells.representatives, cells.smallest_members, cells.connected, cells.opcodes, cells.neighbours)
    expected = [maker().copy() for maker in makers]
    for maker in makers:
        maker.cache_clear()
    made = together(lambda number: makers[number % len(makers)]())
    assert all(np.array_equal(made[number], expected[number % len(makers)]) for number in range(len(made)))


def test_a_budget_is_kept_by_threads_that_search_together():
    """Every charged query is in the trajectory, and none is beyond the budget."""
    problem = TableProblem(nbr.load(), "pgd_acc")
    simulator = Simulator(problem, Budget(queries=1000, seconds=250))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def search(number: int) -> int:
            rng, made = np.random.default_rng(number), 0
            for _ in range(500):
                try:
                    simulator.query(nbr.Cell.sample(rng))
                    made += 1
                except BudgetSpentError:
                    pass
            return made

        charged = sum(together(search, 8))
    finally:
        sys.setswitchinterval(before)
    trajectory = simulator.trajectory()
    assert charged == simulator.queries == len(trajectory) <= 1000
    assert simulator.seconds == pytest.approx(trajectory.seconds[-1])
    assert simulator.seconds <= 250


def test_time_is_charged_once_by_threads_that_share_an_adapter():
    api = nbr.NATSAdapter(nbr.load(), "pgd_acc", seconds=1)
    together(lambda number: [api.simulate_train_eval(index, "digits") for index in range(100)])
    assert api.used_time == 1600


def test_optuna_may_use_threads():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem = TableProblem(nbr.load(), "pgd_acc")
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(nbr.search.optuna_objective(problem, budget=Budget(queries=30)), n_trials=60, n_jobs=4)
    complete = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    assert len(complete) == 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_that_is_forked_while_threads_read_can_read_too():
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            nbr.load().frame("digits", ["clean_acc", "pgd_acc"])

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(8):
            time.sleep(0.02)
            child = os.fork()
            if child == 0:
                os._exit(int(not nbr.load().query(9930, metric="pgd_acc") > 0))
            deadline = time.monotonic() + 60
            while (status := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
                time.sleep(0.01)
            if status[0] == 0:
                os.kill(child, 9)
                os.waitpid(child, 0)
            assert status[0] == child, "the child waits for a lock that nobody holds"
            assert os.waitstatus_to_exitcode(status[1]) == 0
    finally:
        stop.set()
        for reader in readers:
            reader.join()


def test_threads_may_share_a_network_of_the_native_engine():
    native = pytest.importorskip("nasbench_robust.native")
    if not native.is_available():
        pytest.skip("the native engine was not built here")
    from nasbench_robust.datasets import DIGITS
    from nasbench_robust.images import load_arrays
    from nasbench_robust.settings import settings_for

    skeleton = settings_for("digits").skeleton
    network = native.NativeNetwork(nbr.Cell.from_index(9930), skeleton, mean=DIGITS.mean, std=DIGITS.std)
    network.parameters[:] = np.random.default_rng(0).normal(0, 0.1, len(network.parameters))
    network.statistics[:] = 1
    network.fold()
    images = load_arrays("digits").test.pixels
    parts = [images[start : start + 40 + start // 10] for start in range(0, 400, 25)]
    expected = [network.logits(part) for part in parts]
    for _ in range(10):
        made = together(lambda number: network.logits(parts[number]))
        assert all(np.array_equal(one, other) for one, other in zip(made, expected, strict=True))

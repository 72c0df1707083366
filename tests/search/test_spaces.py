"""The cells as a space of ConfigSpace, and tables as blackboxes of syne-tune: by the packages themselves."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import nasbench_robust as nbr
from nasbench_robust.cells import Cell
from nasbench_robust.errors import InvalidCellError, MissingPackageError
from nasbench_robust.search import TableProblem, cell_of, config_space, syne_tune_blackbox
from nasbench_robust.search.tabular.spaces import PARAMETERS


def config(cell: Cell) -> dict[str, str]:
    return dict(zip(PARAMETERS, cell.operations, strict=True))


def test_every_configuration_is_a_cell_and_every_cell_one():
    pytest.importorskip("ConfigSpace")
    space = config_space(seed=0)
    assert space.estimate_size() == 15_625
    drawn = [cell_of(each) for each in space.sample_configuration(50)]
    assert drawn == [cell_of(each) for each in config_space(seed=0).sample_configuration(50)]
    assert len(set(drawn)) > 40
    from ConfigSpace import Configuration

    for index in (0, 9930, 15_624):
        cell = Cell.from_index(index)
        assert cell_of(Configuration(space, config(cell))) == cell == cell_of(config(cell))


def test_what_is_no_configuration_says_why():
    cell = config(Cell.from_index(3))
    with pytest.raises(InvalidCellError, match="unknown operation 'conv'"):
        cell_of({**cell, "1->2": "conv"})
    del cell["1->3"]
    with pytest.raises(InvalidCellError, match="no operation for 1->3; expected one for each edge"):
        cell_of(cell)


def test_packages_that_are_missing_are_one_sentence(monkeypatch):
    for name in ("ConfigSpace", "syne_tune"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=r"'ConfigSpace' is needed here.*\.\[optimisers\]"):
        config_space()
    with pytest.raises(MissingPackageError, match=r"'syne-tune' is needed here.*\.\[optimisers\]"):
        syne_tune_blackbox(TableProblem(nbr.load(), "pgd_acc"))


def test_a_blackbox_answers_what_the_problem_does():
    pytest.importorskip("syne_tune.blackbox_repository.blackbox")
    problem = TableProblem(nbr.load(), ("clean_acc", "pgd_acc"))
    blackbox = syne_tune_blackbox(problem)
    found = blackbox(config(Cell.from_index(77)))
    assert found == dict(
        zip((*problem.columns, "elapsed_time"), (*problem.answers[77], problem.seconds[77]), strict=True)
    )


def test_a_blackbox_of_epochs_answers_what_the_curve_does():
    pytest.importorskip("syne_tune.blackbox_repository.blackbox")
    problem = TableProblem(nbr.load(), "pgd_acc", fidelity="epoch")
    blackbox, cell = syne_tune_blackbox(problem), config(Cell.from_index(9930))
    whole = blackbox(cell)
    np.testing.assert_allclose(whole[:, 0], nbr.load().curve(9930)["pgd_acc"])
    np.testing.assert_allclose(whole[:, 1], problem.seconds[9930] * np.arange(1, 21) / 20)
    for epoch in (1, 20):
        expected = dict(zip(("pgd_acc@0.1#validation", "elapsed_time"), whole[epoch - 1], strict=True))
        assert blackbox(cell, epoch) == blackbox(cell, {"epoch": epoch}) == expected
    assert blackbox.fidelity_values.tolist() == list(range(1, 21))


def test_syne_tune_searches_in_it(tmp_path, monkeypatch):
    pytest.importorskip("syne_tune.blackbox_repository")
    monkeypatch.setenv("SYNETUNE_FOLDER", str(tmp_path))
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend.simulator_backend.simulator_callback import SimulatorCallback
    from syne_tune.blackbox_repository import UserBlackboxBackend
    from syne_tune.optimizer.baselines import ASHA

    problem = TableProblem(nbr.load(), "pgd_acc", fidelity="epoch")
    blackbox, metric = syne_tune_blackbox(problem), problem.columns[0]
    options = {"metric": metric, "do_minimize": False, "time_attr": "epoch", "max_t": 20, "random_seed": 0}
    tuner = Tuner(
        trial_backend=UserBlackboxBackend(blackbox, elapsed_time_attr="elapsed_time"),
        scheduler=ASHA(blackbox.configuration_space, **options),
        stop_criterion=StoppingCriterion(max_num_trials_finished=10),
        n_workers=2,
        sleep_time=0,
        callbacks=[SimulatorCallback()],
        save_tuner=False,
    )
    tuner.run()
    reported = tuner.tuning_status.overall_metric_statistics.max_metrics[metric]
    configs = tuner.tuning_status.trial_rows.values()
    curves = [problem.curve[cell_of({name: each[name] for name in PARAMETERS}).index] for each in configs]
    assert reported in np.concatenate(curves)

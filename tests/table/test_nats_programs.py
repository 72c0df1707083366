"""The search programs published with NATS-Bench, written anew, run on the adapter to their last line.

After ``regularized_ea.py`` and ``random_wo_share.py`` of ``exps/NATS-algos`` in D-X-Y/AutoDL-Projects: architectures
are structures with a method ``tostr``, and a program ends with what the API says of the best one, as text.
"""

from __future__ import annotations

import collections
import copy
import random

import numpy as np
import pytest

import nasbench_robust as nbr
from nasbench_robust.errors import InvalidCellError, InvalidValueError, MissingResultError
from nasbench_robust.table import NATSAdapter

OPERATIONS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]


class Structure:
    """What the programs pass around in place of strings."""

    def __init__(self, nodes):
        self.nodes = nodes

    def tostr(self):
        return "+".join("|" + "|".join(f"{op}~{source}" for op, source in node) + "|" for node in self.nodes)


def random_topology(rng):
    return Structure([tuple((rng.choice(OPERATIONS), source) for source in range(node)) for node in range(1, 4)])


def mutate_topology(parent, rng):
    child = copy.deepcopy(parent)
    node = rng.randint(0, len(child.nodes) - 1)
    edges = list(child.nodes[node])
    place = rng.randint(0, len(edges) - 1)
    others = [operation for operation in OPERATIONS if operation != edges[place][0]]
    edges[place] = (rng.choice(others), edges[place][1])
    child.nodes[node] = tuple(edges)
    return child


class Model:
    def __init__(self):
        self.arch = None
        self.accuracy = None


def regularized_evolution(api, rng, dataset, time_budget, population_size=10, sample_size=3):
    population, history, total_times, best_indexes = collections.deque(), [], [], []
    api.reset_time()
    while len(population) < population_size:
        model = Model()
        model.arch = random_topology(rng)
        model.accuracy, _, _, total_cost = api.simulate_train_eval(model.arch, dataset, hp="12")
        population.append(model)
        history.append(model)
        total_times.append(total_cost)
        best_indexes.append(api.query_index_by_arch(max(history, key=lambda each: each.accuracy).arch))
    while total_times[-1] < time_budget:
        sample = [rng.choice(list(population)) for _ in range(sample_size)]
        child = Model()
        child.arch = mutate_topology(max(sample, key=lambda each: each.accuracy).arch, rng)
        child.accuracy, _, _, total_cost = api.simulate_train_eval(child.arch, dataset, hp="12")
        total_times.append(total_cost)
        population.append(child)
        history.append(child)
        best_indexes.append(api.query_index_by_arch(max(history, key=lambda each: each.accuracy).arch))
        population.popleft()
    return max(history, key=lambda each: each.accuracy).arch, best_indexes, total_times


def random_search(api, rng, dataset, time_budget):
    api.reset_time()
    best_arch, best_accuracy, total_times, best_indexes = None, -1, [], []
    while len(total_times) == 0 or total_times[-1] < time_budget:
        arch = random_topology(rng)
        accuracy, _, _, total_cost = api.simulate_train_eval(arch, dataset, hp="12")
        total_times.append(total_cost)
        if best_arch is None or best_accuracy < accuracy:
            best_accuracy, best_arch = accuracy, arch
        best_indexes.append(api.query_index_by_arch(best_arch))
    return best_arch, best_indexes, total_times


@pytest.fixture(scope="module")
def api() -> NATSAdapter:
    return NATSAdapter(nbr.load(), "pgd_acc")


@pytest.mark.parametrize("program", [regularized_evolution, random_search])
@pytest.mark.parametrize("made_with", ["structures", "nats_bench"])
def test_a_published_program_runs_to_its_last_line(api, program, made_with, monkeypatch):
    if made_with == "nats_bench":  # its own structures, nodes of which are the same tuples
        utils = pytest.importorskip("nats_bench.genotype_utils")
        monkeypatch.setitem(globals(), "Structure", utils.TopologyStructure)
    best, indexes, times = program(api, random.Random(0), "digits", 40.0)
    index = api.query_index_by_arch(best)
    assert indexes[-1] == index
    assert len(indexes) == len(times)
    assert times[-2] < 40 <= times[-1] == api.used_time
    info = api.query_info_str_by_arch(best, "200")
    assert info == api.query_by_arch(best, "200") == api.query_info_str_by_arch(index)
    assert info.splitlines()[0] == best.tostr()
    assert info.splitlines()[1] == f"datasets : ['digits'], extra-info : arch-index={index}"
    test, costs = api.get_more_info(best, "digits")["test-accuracy"], api.get_cost_info(best, "digits")
    assert f"Params={costs['params']:.3f} MB" in info
    assert f"test : [top1 = {test:.2f}%]" in info
    unique = api.get_unique_str(best)
    assert unique == api.get_unique_str(best.tostr()) == api.get_unique_str(index)
    assert api.get_net_config(index, "digits") == {
        "name": "infer.tiny", "C": 4, "N": 1, "arch_str": best.tostr(), "num_classes": 10,
    }  # fmt: skip


def test_what_is_known_of_an_architecture_has_the_methods_of_nats_bench(api):
    results = api.query_meta_info_by_index(9930, "200")
    assert (results.arch_index, results.arch_str) == (9930, api.arch(9930))
    assert results.get_dataset_names() == ["digits"]
    assert results.get_dataset_seeds("digits") == [0, 1, 2]
    assert results.get_compute_costs("digits") == api.get_cost_info(9930, "digits")
    info = api.get_more_info(9930, "digits", is_random=1)
    metrics = results.get_metrics("digits", "ori-test", is_random=1)
    assert (metrics["accuracy"], metrics["all_time"]) == (info["test-accuracy"], info["train-all-time"])
    assert results.get_metrics("digits", "x-valid", is_random=1)["accuracy"] == info["valid-accuracy"]
    by_seed = api.query_by_index(9930, "digits")
    assert list(by_seed) == [0, 1, 2]
    assert by_seed[1] == info == results.query("digits", 1)
    assert api.query_by_index(9930).arch_str == results.arch_str
    with pytest.raises(InvalidValueError, match="metric_on_set is 'train'"):
        results.get_metrics("digits", "train")
    with pytest.raises(InvalidCellError):
        api.query_meta_info_by_index(20_000)


def test_show_prints_and_evaluated_indexes_are_those_with_a_result(api, capsys, with_gaps):
    api.show(9930)
    assert capsys.readouterr().out == api.query_info_str_by_arch(9930) + "\n"
    assert api.evaluated_indexes == list(range(15_625))
    few = NATSAdapter(with_gaps, "clean_acc")
    members = [index for index in range(15_625) if nbr.Cell.from_index(index).representative in (0, 9)]
    assert few.evaluated_indexes == members
    few.show()
    assert capsys.readouterr().out.count("arch-index=") == len(members)
    with pytest.raises(MissingResultError):
        few.get_more_info(1, "digits")


@pytest.fixture(scope="module")
def with_gaps() -> nbr.Benchmark:
    """Two cells of digits alone."""
    from nasbench_robust.table import read_table

    table = read_table(nbr.releases.locate())
    return nbr.Benchmark(table.filter([index in (0, 9) for index in table.column("index").to_pylist()]))


def test_a_release_without_single_seeds_says_so(bench):
    results = NATSAdapter(bench, "pgd_acc").query_meta_info_by_index(5)
    assert results.get_dataset_names() == ["cifar10", "cifar100", "ImageNet16-120"]
    assert results.get_dataset_seeds("cifar10") == []
    assert results.query("cifar10") == {}
    with pytest.raises(MissingResultError, match="no validation split"):
        results.get_metrics("cifar10", "x-valid")


# ------------------------------------------------------------------ seeds


@pytest.mark.parametrize("none", [False, np.False_])
@pytest.mark.parametrize("some", [True, np.True_])
def test_booleans_of_numpy_are_booleans(none, some):
    one, other = (NATSAdapter(nbr.load(), "pgd_acc", seed=4) for _ in range(2))
    mean = one.get_more_info(9930, "digits")
    assert one.get_more_info(9930, "digits", is_random=none) == mean
    drawn = [one.get_more_info(9930, "digits", is_random=some) for _ in range(30)]
    assert drawn == [other.get_more_info(9930, "digits", is_random=True) for _ in range(30)]
    single = [one.get_more_info(9930, "digits", is_random=seed) for seed in (0, np.int64(1), np.uint8(2))]
    assert {info["test-accuracy"] for info in drawn} == {info["test-accuracy"] for info in single}


@pytest.mark.parametrize("seed", [0.9, 1.0, "1", None, -1, [1], np.float64(1), np.nan])
def test_what_is_no_seed_is_refused(api, seed):
    with pytest.raises(InvalidValueError, match=r"is_random is .*expected an integer of at least 0"):
        api.get_more_info(9930, "digits", is_random=seed)


def test_accuracy_and_time_are_of_the_same_run(api):
    bench = nbr.load()
    for seed in (0, 1, 2):
        info = api.get_more_info(9930, "digits", is_random=seed)
        assert info["test-accuracy"] == 100 * bench.query(9930, metric="pgd_acc", seed=seed)
        assert info["train-all-time"] == bench.values(metric="train_cpu_seconds", seed=seed)[9930]
    assert api.get_more_info(9930, "digits")["train-all-time"] == bench.values(metric="train_cpu_seconds")[9930]
    pairs = {tuple(api.query_by_index(9930, "digits")[seed].values())[::2] for seed in (0, 1, 2)}
    for _ in range(20):
        assert tuple(api.get_more_info(9930, "digits", is_random=True).values())[::2] in pairs

"""Code written for NATS-Bench runs on the adapter: the same functions on it and on a real `nats_bench` object."""

from __future__ import annotations

import collections
import random
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from made_up_tables import SMALL, run

from nasbench_robust import cells, load
from nasbench_robust.cells import Cell
from nasbench_robust.cells.cell import EDGES, OPERATIONS
from nasbench_robust.errors import InvalidCellError, InvalidValueError, MissingResultError, UnknownNameError
from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import Benchmark, NATSAdapter, runs_table

nats_bench = pytest.importorskip("nats_bench")
from nats_bench.api_utils import ArchResults, ResultsCount
from nats_bench.genotype_utils import topology_str2structure

SEED, EPOCHS, SECONDS = 777, 2, 6_600.0
FREE = (1, 3, 5)  # the edges of which the real object knows all operations; the other edges carry a 3x3 convolution


def known_cells() -> list[Cell]:
    """Return the 125 cells that the real object has results for: closed under changes of the free edges."""
    chosen = []
    for free in product(OPERATIONS, repeat=len(FREE)):
        operations = ["nor_conv_3x3"] * len(EDGES)
        for edge, operation in zip(FREE, free, strict=True):
            operations[edge] = operation
        chosen.append(Cell(operations))
    return chosen


KNOWN = {cell.index for cell in known_cells()}


def trial(cell: Cell, dataset: str, percent: float) -> ResultsCount:
    """Return one training as NATS-Bench stores it, whose every accuracy is `percent`."""
    skeleton = Skeleton.for_dataset(dataset.removesuffix("-valid"))
    epochs = dict.fromkeys(range(EPOCHS), percent)
    flops, parameters = cell.flops(skeleton) / 1e6, cell.parameters(skeleton) / 1e6
    result = ResultsCount(dataset, None, epochs, epochs, parameters, flops, {"arch_str": str(cell)}, SEED, EPOCHS, None)
    result.reset_pseudo_train_times(SECONDS / EPOCHS)
    for name in ("x-valid", "x-test", "ori-test"):
        result.update_OLD_eval(name, epochs, epochs)
        result.reset_pseudo_eval_times(name, 0.0)
    return result


def results(cell: Cell, bench: Benchmark) -> dict[str, dict]:
    found = ArchResults(cell.index, str(cell))
    for dataset in (*bench.datasets, "cifar10-valid"):
        percent = 100 * bench.query(cell, dataset.removesuffix("-valid"), "pgd_acc")
        found.update(dataset, SEED, trial(cell, dataset, percent))
    return {hp: found.state_dict() for hp in ("12", "200")}


@pytest.fixture(scope="module")
def real(bench):
    """Return a NATS-Bench object with all architectures, and with our numbers as the results of the known ones."""
    content = {
        "meta_archs": [str(Cell.from_index(index)) for index in range(cells.SIZE)],
        "arch2infos": {index: results(Cell.from_index(index), bench) for index in KNOWN},
        "evaluated_indexes": KNOWN,
    }
    return nats_bench.create(content, "tss", verbose=False)


@pytest.fixture
def api(bench) -> NATSAdapter:
    return NATSAdapter(bench, "pgd_acc", valid_split="test", seconds=SECONDS)


@pytest.fixture(params=["adapter", "nats_bench"])
def either(request, api, real):
    chosen = {"adapter": api, "nats_bench": real}[request.param]
    chosen.reset_time()
    return chosen


# ---------------------------------------------------------------------- loops written against NATS-Bench


def random_known(api) -> int:
    index = api.random()
    while index not in KNOWN:
        index = api.random()
    return index


def random_search(api, dataset: str, rng: random.Random, trials: int = 20) -> tuple[list[tuple], int]:
    """After the notebook random-search.ipynb of NATS-Bench."""
    api.reset_time()
    history, highest_accuracy, best_arch = [], -1, -1
    while len(history) < trials:
        arch_index = rng.randint(0, len(api) - 1)
        if arch_index not in KNOWN:
            continue
        accuracy, latency, cost, total_cost = api.simulate_train_eval(arch_index, dataset, hp="12")
        history.append((arch_index, accuracy, latency, cost, total_cost))
        if accuracy > highest_accuracy:
            highest_accuracy, best_arch = accuracy, arch_index
    return history, best_arch


def changed(api, arch: str, rng: random.Random) -> str:
    """Return the architecture with another operation on one of the free edges."""
    nodes = [list(node) for node in api.str2lists(arch)]
    source, target = EDGES[rng.choice(FREE)]
    others = [operation for operation in OPERATIONS if operation != nodes[target - 1][source][0]]
    nodes[target - 1][source] = (rng.choice(others), source)
    return "+".join("|" + "|".join(f"{operation}~{origin}" for operation, origin in node) + "|" for node in nodes)


def regularized_evolution(api, dataset: str, rng: random.Random, budget: float) -> tuple[list[tuple], list[int]]:
    """After regularized_ea.py of the NATS-Bench examples: an ageing population until the time is used up."""
    population, history, best = collections.deque(), [], []
    api.reset_time()

    def train(arch: str) -> None:
        accuracy, _, _, total_cost = api.simulate_train_eval(arch, dataset, hp="12")
        population.append((accuracy, arch))
        history.append((accuracy, arch, total_cost))
        best.append(api.query_index_by_arch(max(history)[1]))

    starts = sorted(KNOWN)
    while len(population) < 10:
        train(api.arch(rng.choice(starts)))
    while api.used_time < budget:
        _, parent = max(rng.choice(list(population)) for _ in range(3))
        train(changed(api, parent, rng))
        population.popleft()
    return history, best


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "ImageNet16-120"])
def test_one_random_search_runs_on_both_and_finds_the_same(api, real, dataset):
    ours, theirs = (random_search(each, dataset, random.Random(5)) for each in (api, real))
    assert ours == theirs
    assert ours[0][-1][-1] == 20 * SECONDS


def test_one_regularized_evolution_runs_on_both_and_finds_the_same(api, real):
    ours, theirs = (regularized_evolution(each, "cifar10", random.Random(3), 60 * SECONDS) for each in (api, real))
    assert ours == theirs
    history, best = ours
    assert len(history) == 60
    accuracies = [api.get_more_info(index, "cifar10")["test-accuracy"] for index in best]
    assert accuracies == sorted(accuracies)
    assert accuracies[-1] > accuracies[0]


def test_the_examples_of_the_manual_run_on_both(either):
    index = random_known(either)
    assert either.query_index_by_arch(either.arch(index)) == index
    info = either.get_more_info(index, "cifar10", hp="12", is_random=False)
    assert {"test-accuracy", "train-all-time", "comment"} <= set(info)
    assert set(either.get_cost_info(index, "cifar10")) >= {"flops", "params", "latency"}
    accuracy, latency, cost, total = either.simulate_train_eval(index, dataset="cifar10", hp="12")
    assert (latency, cost, total) == (None, SECONDS, SECONDS)
    assert 0 <= accuracy <= 100


def test_all_architectures_can_be_listed(either):
    """As `for i, arch_str in enumerate(api)` of the manual of NAS-Bench-201 and many programs after it."""
    listed = list(either)
    assert len(listed) == len(either) == 15_625
    assert listed[9] == either.arch(9) == either[9]
    assert listed[-1] == either[15_624]


def test_architectures_with_a_method_tostr_are_understood(either):
    """The published search programs pass structures, not strings, to the API."""
    index = min(KNOWN)
    structure = topology_str2structure(either.arch(index))
    assert either.query_index_by_arch(structure) == index
    assert either.simulate_train_eval(structure, "cifar10", hp="12")[2] == SECONDS


def test_numbers_of_epochs_are_accepted_as_in_the_published_programs(either):
    index = min(KNOWN)
    for hp in ("12", "200", either.full_train_epochs):
        assert either.simulate_train_eval(index, "cifar10", hp=hp)[2] == SECONDS


def test_time_is_charged_only_when_asked_and_can_be_reset(either):
    index = min(KNOWN)
    assert either.used_time == 0
    either.simulate_train_eval(index, "cifar10")
    assert either.used_time == SECONDS
    assert either.simulate_train_eval(index, "cifar10", account_time=False)[3] == SECONDS
    assert either.simulate_train_eval(index, "cifar100")[3] == either.used_time == 2 * SECONDS
    either.reset_time()
    assert either.used_time == 0


def test_a_wrong_question_is_a_value_error_on_both_and_charges_nothing(either):
    for question in (
        lambda: either.arch(15_625),
        lambda: either.arch(-1),
        lambda: either.get_more_info(100_000, "cifar10"),
        lambda: either.simulate_train_eval(100_000, "cifar10"),
        lambda: either.simulate_train_eval(0, "no-data"),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 (the class is all that both share)
            question()
    assert either.used_time == 0


# ---------------------------------------------------------------------- the same answers


def test_indices_strings_lists_and_matrices_are_those_of_nats_bench(api, real):
    assert len(api) == len(real)
    for index in range(len(real)):
        arch = real.arch(index)
        assert api.arch(index) == arch
        assert api.query_index_by_arch(arch) == real.query_index_by_arch(arch) == index
        assert api.str2lists(arch) == real.str2lists(arch)
        assert np.array_equal(api.str2matrix(arch), real.str2matrix(arch))
    assert api.str2matrix(api.arch(0)).dtype == real.str2matrix(api.arch(0)).dtype


def test_cells_are_the_same_graph_exactly_where_nats_bench_says_so(api, real):
    pairs = {(api.get_unique_str(index), real.get_unique_str(index)) for index in range(len(real))}
    assert len(pairs) == len({ours for ours, _ in pairs}) == len({theirs for _, theirs in pairs}) == 6_466


def test_every_known_cells_numbers_are_the_same_on_both(api, real):
    for index in KNOWN:
        for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
            ours = api.get_more_info(index, dataset, is_random=False)
            theirs = real.get_more_info(index, dataset, is_random=False)
            names = ("test-accuracy", "train-all-time", *(["valid-accuracy"] if "valid-accuracy" in theirs else []))
            assert {name: ours[name] for name in names} == {name: theirs[name] for name in names}
            costs = real.get_cost_info(index, dataset)
            assert api.get_cost_info(index, dataset) == {name: costs[name] for name in ("flops", "params", "latency")}


def test_costs_are_in_millions(api):
    # |avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+..., all 3x3 convolutions (the largest), all skips
    assert api.get_cost_info(0, "cifar10") == {"flops": 15.64736, "params": 0.129306, "latency": None}
    assert api.get_cost_info(1462, "cifar10") == {"flops": 220.11968, "params": 1.531546, "latency": None}
    assert api.get_cost_info(1835, "cifar10")["params"] == 0.073306
    hundred = api.get_cost_info(1462, "cifar100")
    assert hundred["params"] == pytest.approx(1.531546 + 90 * 65e-6, abs=1e-12)  # 90 more outputs of 64 + 1


@pytest.mark.parametrize(
    "limits", [{}, {"flop_max": 120.0}, {"param_max": 0.9}, {"flop_max": 184.73024, "param_max": 1.288506}]
)
def test_the_best_within_limits_is_the_best_of_all_that_keep_them(api, bench, limits):
    frame = bench.frame("cifar100", cells="all")
    allowed = (frame["flops"] <= 1e6 * limits.get("flop_max", 1e3)) & (
        frame["parameters"] <= 1e6 * limits.get("param_max", 1e3)
    )
    row = frame.loc[frame.loc[allowed, "pgd_acc@8/255"].idxmax()]
    assert api.find_best("cifar100", "x-test", **limits) == (row["index"], 100 * row["pgd_acc@8/255"])


def test_a_cell_keeps_the_limits_of_its_own_size():
    """What `get_cost_info` says of a size, in millions, is a limit that cells of this size keep."""
    bench = load("digits")
    api, frame = NATSAdapter(bench, "pgd_acc"), bench.frame("digits", ["pgd_acc"], cells="all")
    for _, same in frame.groupby(["flops", "parameters"]):
        costs = api.get_cost_info(int(same["index"].iloc[0]), "digits")
        for name, limit, column in (("flop_max", "flops", "flops"), ("param_max", "params", "parameters")):
            allowed = frame[frame[column] <= same[column].iloc[0]]
            best = int(allowed["pgd_acc"].idxmax())
            assert api.find_best("digits", **{name: costs[limit]}) == (best, 100 * allowed["pgd_acc"][best])


def test_find_best_is_that_of_nats_bench_among_the_same_cells(real, bench, monkeypatch):
    """A release of the known representatives alone, and NATS-Bench with the results of these alone."""
    trained = sorted({cell.representative for cell in known_cells()} & KNOWN)
    info = replace(bench.info, datasets={"cifar100": bench.info.datasets["cifar100"]}, metrics=(bench.info.metrics[4],))
    rows = [
        {"dataset": "cifar100", "index": index, "seed": None, "seeds": 1, "test_images": 10_000}
        | {"pgd_acc@8/255": bench.query(index, "cifar100", "pgd_acc")}
        for index in trained
    ]
    api = NATSAdapter(Benchmark(runs_table(info, rows)), "pgd_acc", valid_split="test")
    members = {index for index in KNOWN if Cell.from_index(index).representative in trained}
    monkeypatch.setattr(real, "evaluated_indexes", members)
    for on_set in ("test", "valid", "x-test"):
        assert api.find_best("cifar100", on_set) == real.find_best("cifar100", on_set)
    for limits in ({"flop_max": 130.0}, {"param_max": 1.0}, {"flop_max": 160.0, "param_max": 1.05}):
        assert api.find_best("cifar100", "test", **limits) == real.find_best("cifar100", "test", **limits)


@pytest.mark.parametrize("limits", [{"flop_max": 1.0}, {"param_max": 0.01}, {"flop_max": 0}, {"param_max": 0.0}])
def test_limits_that_no_cell_keeps_are_an_error(api, limits):
    with pytest.raises(MissingResultError, match="no cell within the limits"):
        api.find_best("cifar10", "test", **limits)


# ---------------------------------------------------------------------- what the adapter alone does


def test_accuracies_are_those_of_the_metric_in_percent(bench):
    for metric in ("clean_acc", "pgd_acc@3/255", "autoattack_acc"):
        info = NATSAdapter(bench, metric).get_more_info(9930, "cifar10")
        assert info["test-accuracy"] == 100 * bench.query(9930, "cifar10", metric)
        assert metric in info["comment"]


def test_data_sets_go_by_their_usual_spellings(api):
    assert api.get_more_info(3, "CIFAR-100") == api.get_more_info(3, "cifar100")
    assert api.get_cost_info(3, "imagenet") == api.get_cost_info(3, "ImageNet16-120")


def test_random_cells_come_from_the_adapters_own_generator(bench):
    one, same, other = (NATSAdapter(bench, "pgd_acc", seed=seed) for seed in (1, 1, 2))
    random.seed(0)
    drawn = [one.random() for _ in range(200)]
    assert drawn == [same.random() for _ in range(200)]
    assert drawn != [other.random() for _ in range(200)]
    assert all(type(index) is int and 0 <= index < len(one) for index in drawn)
    assert len(set(drawn)) > 190
    assert random.random() == random.Random(0).random()  # nobody touched the global one


def test_the_adapter_says_what_it_is(api):
    assert (api.search_space_name, api.is_topology, api.is_size) == ("topology", True, False)
    assert repr(api).startswith("NATSAdapter(<Benchmark nas-robbench-201")
    assert "valid is the test split" in api.get_more_info(0, "cifar10")["comment"]


@pytest.fixture(scope="module")
def with_seeds() -> Benchmark:
    """Two cells with seeds, a validation split and costs."""
    rows = [
        run(index, seed, None, test, train_seconds=10.0 * seed, **{"pgd_acc@0.1#validation": validation})
        for index, seed, test, validation in ((0, 1, 300, 0.5), (0, 2, 310, 0.7), (1, 2, 320, 0.55))
    ]
    return Benchmark(runs_table(SMALL, rows))


def test_a_release_with_a_validation_split_and_costs_needs_no_permission(with_seeds):
    api = NATSAdapter(with_seeds, "pgd_acc")
    accuracy, _, cost, total = api.simulate_train_eval(0, "digits")
    assert accuracy == pytest.approx(60, abs=1e-12)
    assert (cost, total) == (15.0, 15.0)
    assert api.simulate_train_eval(1, "digits")[2:] == (20.0, 35.0)
    assert "valid is the validation split" in api.get_more_info(0, "digits")["comment"]
    assert api.find_best("digits", "valid") == (0, pytest.approx(60))
    assert api.find_best("digits", "test") == (1, pytest.approx(100 * 320 / 517))


def test_is_random_is_a_seed_or_draws_one_of_those_that_were_run(with_seeds):
    api = NATSAdapter(with_seeds, "pgd_acc")
    first, second = (api.get_more_info(0, "digits", is_random=seed) for seed in (1, 2))
    assert (first["test-accuracy"], first["valid-accuracy"]) == pytest.approx((100 * 300 / 517, 50))
    assert (second["test-accuracy"], second["valid-accuracy"]) == pytest.approx((100 * 310 / 517, 70))
    drawn = [api.get_more_info(0, "digits", is_random=True) for _ in range(40)]
    assert all(info in (first, second) for info in drawn)
    assert {info["valid-accuracy"] for info in drawn} == {first["valid-accuracy"], second["valid-accuracy"]}
    mean = api.get_more_info(0, "digits")
    assert mean["valid-accuracy"] == pytest.approx(60, abs=1e-12)


def test_a_seed_that_was_not_run_is_an_error(with_seeds):
    with pytest.raises(MissingResultError, match=r"seed 1 of cell 1 \(seeds that were run: 2\)"):
        NATSAdapter(with_seeds, "pgd_acc").get_more_info(1, "digits", is_random=1)


# ---------------------------------------------------------------------- honest refusals


def test_without_a_validation_split_selection_on_test_images_must_be_asked_for(bench):
    api = NATSAdapter(bench, "pgd_acc", seconds=1)
    assert "valid-accuracy" not in api.get_more_info(0, "cifar10")
    for question in (lambda: api.simulate_train_eval(0, "cifar10"), lambda: api.find_best("cifar10", "valid")):
        with pytest.raises(MissingResultError, match=r"no validation split.*pass valid_split='test'"):
            question()
    assert api.used_time == 0


def test_without_a_recorded_cost_it_must_be_given(bench):
    api = NATSAdapter(bench, "pgd_acc", valid_split="test")
    assert "train-all-time" not in api.get_more_info(0, "cifar10")
    with pytest.raises(MissingResultError, match=r"records no training time.*pass seconds= to charge a fixed cost"):
        api.simulate_train_eval(0, "cifar10")


def test_a_random_seed_cannot_be_drawn_where_the_source_gives_none(api):
    with pytest.raises(MissingResultError, match="gives no single seeds to draw from; use is_random=False"):
        api.get_more_info(0, "cifar10", is_random=True)
    with pytest.raises(MissingResultError, match="has no seed 777"):
        api.get_more_info(0, "cifar10", is_random=777)


def test_earlier_epochs_are_refused(api):
    for question in (api.get_more_info, api.simulate_train_eval):
        with pytest.raises(MissingResultError, match="has no curves by epoch beside its runs on cifar10"):
            question(0, "cifar10", iepoch=11)
    assert api.used_time == 0


@pytest.mark.parametrize("arch", ["|none~0|", "", "|none~0|+|none~0|none~1|+|none~0|none~1|conv~2|", None, 1.5, True])
def test_an_unknown_architecture_is_an_error_and_never_minus_one(api, arch):
    for question in (api.query_index_by_arch, api.get_unique_str):
        with pytest.raises(InvalidCellError):
            question(arch)
    with pytest.raises(InvalidCellError):
        api.simulate_train_eval(arch, "cifar10")
    assert api.used_time == 0


def test_nats_benchs_own_name_of_the_cifar10_training_half_is_refused_with_a_suggestion(api):
    with pytest.raises(UnknownNameError, match="'cifar10-valid'; did you mean 'cifar10'"):
        api.get_more_info(0, "cifar10-valid")


def test_a_set_that_the_table_does_not_have_is_refused(api):
    with pytest.raises(InvalidValueError, match="metric_on_set is 'train', expected test"):
        api.find_best("cifar10", "train")


def test_wrong_names_are_errors_when_the_adapter_is_made(bench):
    with pytest.raises(UnknownNameError, match="did you mean 'pgd_acc'"):
        NATSAdapter(bench, "pgd")
    with pytest.raises(UnknownNameError, match="unknown split 'valid'; did you mean 'validation'"):
        NATSAdapter(bench, "pgd_acc", valid_split="valid")


def test_an_epoch_is_that_of_the_curve_and_costs_its_share():
    digits = load()
    api = NATSAdapter(digits, "pgd_acc")
    curve = digits.curve(9930)
    for iepoch in (0, 7, 19):
        info = api.get_more_info(9930, "digits", iepoch=iepoch)
        row = curve.loc[iepoch + 1]
        assert info["valid-accuracy"] == pytest.approx(100 * row["pgd_acc"], rel=1e-12)
        assert (info["train-loss"], info["train-accuracy"]) == (row["train_loss"], 100 * row["train_acc"])
        assert "test-accuracy" not in info
        accuracy, _, cost, _ = api.simulate_train_eval(9930, "digits", iepoch=iepoch)
        assert (accuracy, cost) == (info["valid-accuracy"], info["train-all-time"])
        assert cost == pytest.approx(digits.values(metric="train_cpu_seconds")[9930] * (iepoch + 1) / 20)
    one = api.get_more_info(9930, "digits", iepoch=3, is_random=1)
    assert one["valid-accuracy"] == pytest.approx(100 * digits.curve(9930, seed=1)["pgd_acc"][4], rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "options", "iepoch", "told"),
    [
        ("pgd_acc", {}, 20, "iepoch is 20, expected an integer from 0 to 19; did you mean 19"),
        ("fgsm_acc", {}, 1, "unknown column of curves 'fgsm_acc'"),
        ("pgd_acc@0.05", {}, 1, r"at the eps of the training alone, not at 0.05 \(eps of the training: 0.1\)"),
        ("pgd_acc", {"valid_split": "test"}, 1, "curves are measured on validation images, and valid_split is 'test'"),
    ],
)
def test_an_epoch_that_no_curve_has_is_an_error(metric, options, iepoch, told):
    with pytest.raises((InvalidValueError, MissingResultError, UnknownNameError), match=told):
        NATSAdapter(load(), metric, **options).get_more_info(9930, "digits", iepoch=iepoch)

"""An example of every public class, made by walking the doors: what a test asks of one, it asks of all."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import nasbench_robust as nbr
from nasbench_robust.cells import Cell
from nasbench_robust.metrics import Attack, Metric, fgsm, pgd
from nasbench_robust.skeletons import Skeleton

PACKAGE = Path(nbr.__file__).parent
MODULES = ("metrics", "datasets", "settings", "skeletons", "registry", "releases.publishing", "cli.command")


def public_classes() -> Iterator[type]:
    """Yield the classes behind all doors, and those of public modules; protocols are no objects."""
    rooms = [".".join(stub.parent.relative_to(PACKAGE).parts) for stub in PACKAGE.rglob("__init__.pyi")]
    seen: set[type] = set()
    for room in sorted(rooms) + list(MODULES):
        module = import_module(f"nasbench_robust.{room}".rstrip("."))
        origin = module.__name__ if room in MODULES else "nasbench_robust."
        names = [name for name in vars(module) if name[0] != "_"] if room in MODULES else module.__all__
        for value in (getattr(module, name) for name in names):
            if inspect.isclass(value) and value.__module__.startswith(origin) and value not in seen:
                seen.add(value)
                if not getattr(value, "_is_protocol", False) and not issubclass(value, Exception):
                    yield value


def examples() -> dict[type, Any]:
    """Return an object of every public class."""
    import torch

    from nasbench_robust import (
        attacks,
        engines,
        files,
        images,
        networks,
        ntk,
        predict,
        proxies,
        runs,
        scores,
        statistics,
        table,
    )
    from nasbench_robust.cli import tables
    from nasbench_robust.datasets import DATASETS, DIGITS
    from nasbench_robust.engines import native as native_engine
    from nasbench_robust.engines import torch as torch_engine
    from nasbench_robust.metrics import ATTACKS
    from nasbench_robust.native import NativeNetwork
    from nasbench_robust.registry import RELEASES
    from nasbench_robust.releases.publishing import Publication
    from nasbench_robust.search import EPOCH_SEARCHERS, SEARCHERS, arnas, supernet, tabular
    from nasbench_robust.settings import settings_for

    cell, bench, digits = Cell.from_index(9930), nbr.load(), images.load_images("digits")
    few = images.Images("digits", digits.train[:64], digits.test[:16], digits.validation[:16])
    arrays, generator = few.arrays(), torch.Generator().manual_seed(0)
    settings = settings_for("digits")
    skeleton = settings.skeleton
    network = networks.network_for(cell, skeleton, "digits", generator)
    network.eval()
    problem = tabular.TableProblem(bench, "pgd_acc")
    budget = tabular.Budget(queries=20)
    simulator = tabular.Simulator(problem, budget)
    simulator.query(cell)
    searches = [method.make(np.random.default_rng(0)) for method in SEARCHERS.values()]
    for search in searches:
        for _ in range(4):
            asked = search.ask()
            search.tell(asked, 0.5 if not getattr(search, "several", False) else (0.5,))
    for method in EPOCH_SEARCHERS.values():
        searches.append(method.make(np.random.default_rng(0)))
        for _ in range(4):
            searches[-1].tell(searches[-1].ask()[0], 0.5)
    repeats = tabular.repeat(problem, tabular.RandomSearch, budget, repeats=2)
    kernel = np.eye(4)
    kernels = ntk.Kernels(kernel, kernel, kernel)
    search_settings = supernet.search_settings_for("digits", "darts", "cell")
    outcome = {Metric("clean_acc"): np.ones(3, bool)}
    trainer = torch_engine.Trainer(cell, settings, few, 0)
    attacked = attacks.autoattack(
        network, few.test.pixels, few.test.labels, Attack("autoattack", 0.1, steps=2, restarts=1, queries=5), generator
    )
    made: list[Any] = [cell, cell.plan, bench, bench.lookup(cell, metric="pgd_acc"), bench.info, digits, digits.test]
    made += [bench.info.datasets["digits"], table.Reader(nbr.releases.locate()), table.RUN_COLUMNS["seed"], attacked]
    made += [table.Finding("grid", "error", "off its grid", indices=tuple(range(6466))), problem, budget, simulator]
    made += [attacks.Attacker(network, pgd(0.1)), nbr.NASLibCell(bench, cell, "pgd_acc")]
    made += [nbr.NATSAdapter(bench, "pgd_acc"), *searches, *SEARCHERS.values(), repeats]
    by_epoch = tabular.TableProblem(bench, "pgd_acc", fidelity="epoch")
    made += [tabular.run(by_epoch, tabular.RandomSearch(np.random.default_rng(0)), tabular.Budget(epochs=60))]
    made += [engines.Draws(0, "weights"), *engines.ENGINES.values(), engines.Epoch(1, 0.1, 2.0, 0.1, 0.2, 0.1)]
    made += [engines.Step("epoch 1", 3, 32), runs.Repaired(), files.Commit(1, Path("x"))]
    made += [
        table.Outcome("clean_acc", 8, b"\x07"),
        table.StoredRun({}, {}, np.arange(1), np.zeros((1, 5)), "test", []),
    ]
    made += [engines.engine_named("torch"), trainer, network, networks.Zero(), runs.Unit(9930, 0), runs.Collected()]
    made += [engines.Running(engines.engine_named("torch"), trainer, "run", ["run"], None)]
    made += [NativeNetwork(cell, skeleton, mean=DIGITS.mean, std=DIGITS.std), engines.engine_named("native")]
    made += [native_engine.NativeTrainer(cell, settings, arrays, 0), kernels, *proxies.PROXIES.values()]
    made += [networks.fast.FoldedNetwork(network), networks.fast.BatchNetwork(network), statistics.Interval(1, 0, 2)]
    made += [
        statistics.Noise(0.1, 3, 9),
        statistics.paired([True, False], [False, True]),
        ntk.Value(1.0),
        ntk.FixedNetwork(network, few.test.pixels, bn="eval"),
    ]
    rows = ntk.RowSplit(np.arange(2), np.arange(2, 4))
    made += [rows, ntk.Regression(1, 2, np.arange(2), np.eye(2)), ntk.Scored(None, None, "naswot", 1.0, None, 0.1)]
    made += [*ntk.SCORES]
    made += [scores.score_settings_for("digits"), arnas.arnas_settings_for("digits")]
    made += [arnas.GenotypeJob({arnas.ARNAS: arnas.arnas_settings_for("digits")}, Path("x"), few)]
    made += [runs.Run({"index": 0}, [], outcome), runs.ArrayJob(("a",), 1, 0, "logs"), scores.CollectedScores()]
    made += [runs.CellJob(settings, Path("x"), few, "torch"), settings, search_settings, *ATTACKS.values(), pgd(0.1)]
    made += [supernet.SearchJob(search_settings, Path("x"), few), supernet.BilevelSearch(search_settings, few, 0)]
    made += [*supernet.METHODS.values(), supernet.SearchEpoch(1, 0.1, 0.2, [], {}), arnas.ARNAS, Skeleton()]
    made += [Metric.of(fgsm(0.1)), *DATASETS.values(), DATASETS["cifar10"].layouts[0], *RELEASES.values()]
    made += [
        Publication(Path("x"), bench.info, ("a",), ()),
        tables.COMMANDS[0],
        scores.ScoreKey("clean", None, "trace"),
    ]
    nets = networks.supernet_for(skeleton, "digits", generator)
    made += [networks.CellLayer(cell, 4), networks.MixedCell(4), networks.Normalisation((0.5,), (1.0,)), nets]
    made += [networks.ResidualBlock(4, 8), networks.Subnetwork(nets, [cell]), networks.OperationCounter()]
    made += [networks.StagedNetwork((cell,) * 3, skeleton, mean=(0.5,), std=(1.0,), generator=generator)]
    made += [
        torch_engine.NetworkTrainer(network, settings, few, 0),
        torch_engine.GraphedTrainer(cell, settings, few, 0),
    ]
    made += [scores.ScoreJob(scores.score_settings_for("digits"), Path("x"), few.test.pixels, few.test.labels)]
    made += [arnas.ArnasNetwork(arnas.ARNAS, "digits", channels=4, layers=5, generator=generator)]
    made += [arnas.ArnasSupernet("digits", channels=4, layers=5, generator=generator)]
    made += [predict.Posterior(np.eye(4), np.arange(4.0)), predict.GaussianProcess().fit(np.eye(4), np.arange(4.0))]
    return {type(each): each for each in made}

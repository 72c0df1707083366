"""The method names of the NATS-Bench API over a robust table, so that code written for ``nats_bench`` runs on it.

Differences that cannot be hidden, and are not: accuracies are those of the metric that the adapter was made with; there
are no losses; a held-out split, random seeds and training time exist only where the release has them or the caller
says what to use instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np

from .. import cells
from ..cells import Cell
from ..checks import flag, integer, kind, number
from ..errors import InvalidValueError, MissingResultError
from ..files import ONE_AT_A_TIME
from ..skeletons import Skeleton
from .benchmark import Benchmark
from .costs import charged_by
from .store import CLOCK

Arch: TypeAlias = int | str | Cell | Any  # or an object with a method ``tostr``


class NATSAdapter:
    """A release behind the interface of ``nats_bench.create(..., "tss")``.

    Parameters
    ----------
    bench : Benchmark
        The release.
    metric : str
        The accuracy that takes the place of the test and validation accuracy, for example ``"pgd_acc"``.
    valid_split : str or None
        Split behind the keys ``valid-*`` and `simulate_train_eval`. None means the release's own validation split;
        where it has none, pass ``"test"`` to say knowingly that search selects on test images.
    seconds : float or None
        Fixed cost of one training for `simulate_train_eval`; by default what the table recorded for the cell.
    seed : int
        Seed of the generator behind `random`.

    Examples
    --------
    >>> api = NATSAdapter(bench, "pgd_acc", valid_split="test", seconds=6600)  # doctest: +SKIP
    >>> accuracy, latency, time_cost, total = api.simulate_train_eval(1224, "cifar10")  # doctest: +SKIP
    """

    search_space_name = "topology"
    is_topology, is_size = True, False
    full_train_epochs = 200  # what code for NATS-Bench passes as hp; it has no meaning here

    def __init__(
        self,
        bench: Benchmark,
        metric: str,
        *,
        valid_split: str | None = None,
        seconds: float | None = None,
        seed: int = 0,
    ) -> None:
        if "#" in str(metric):
            raise InvalidValueError("metric", metric, "a metric without a split, which valid_split= and methods name")
        self._bench: Benchmark = kind(Benchmark)("bench", bench)
        self._metric, self._valid_split = metric, valid_split
        self._seconds: float | None = None if seconds is None else number(above=True)("seconds", seconds)
        for dataset in bench.datasets:
            if valid_split is not None:
                bench.query_many([], dataset, metric, split=valid_split)
            bench.query_many([], dataset, metric)  # an unknown metric is an error here, not in the middle of a search
        self._rng = np.random.default_rng(integer(0)("seed", seed))
        self._used_time = 0.0
        self._charged: dict[str, str | None] = {}  # by data set, the column that a training is charged by

    def __len__(self) -> int:
        return cells.SIZE

    def __getitem__(self, index: int) -> str:
        return self.arch(index)

    def __iter__(self) -> Iterator[str]:
        return map(self.arch, range(len(self)))

    def __repr__(self) -> str:
        return f"NATSAdapter({self._bench!r}, {self._metric!r})"

    def arch(self, index: int) -> str:
        """Return the architecture string of an index."""
        return str(Cell.from_index(index))

    def query_index_by_arch(self, arch: Arch) -> int:
        """Return the index of an architecture string; unlike NATS-Bench, an unknown one is an error, never -1."""
        return _cell(arch).index

    def get_unique_str(self, arch: Arch) -> str:
        """Return the string of the representative, the same for all cells that are one graph."""
        return self.arch(_cell(arch).representative)

    def random(self) -> int:
        """Return a random index, from the adapter's own generator."""
        return int(self._rng.integers(cells.SIZE))

    def get_more_info(
        self, index: Arch, dataset: str, iepoch: int | None = None, hp: str = "12", is_random: bool | int = False
    ) -> dict[str, Any]:
        """Return accuracies in percent, as NATS-Bench does.

        Parameters
        ----------
        index : int, str or structure
            Index, architecture string, or what says it with a method ``tostr``.
        dataset : str
            A data set of the release.
        iepoch : int or None
            An epoch of the curves, from 0 as in NATS-Bench: accuracies then, of ``clean_acc``, or of ``pgd_acc`` under
            the attack of the training. None is the end, as the table has it. A release without curves has no other.
        hp : str
            Accepted for compatibility: NATS-Bench's choice between 12 and 200 epochs does not exist here.
        is_random : bool or int
            False (the default here, unlike NATS-Bench): the mean over seeds. An integer: that seed. True: a random
            one of the seeds that were run.

        Returns
        -------
        dict
            ``test-accuracy``, ``valid-accuracy`` where there is a split for it, ``train-all-time`` where the cost is
            known (of the run whose accuracies these are, or the mean), and ``comment``. Of an epoch, accuracy on the
            split of the curves alone, and ``train-accuracy`` and ``train-loss``.
        """
        index = self.query_index_by_arch(index)
        seed = self._seed(index, dataset, is_random)
        if iepoch is not None:
            return self._at_epoch(index, dataset, iepoch, seed)
        info: dict[str, Any] = {"test-accuracy": self._percent(index, dataset, "test", seed)}
        split = self._split(dataset)
        if split is not None:
            info["valid-accuracy"] = self._percent(index, dataset, split, seed)
        with suppress(MissingResultError):
            info["train-all-time"] = self._cost(index, dataset, seed)
        info["comment"] = f"{self._metric} of {self._bench.name}; valid is the {split} split"
        return info

    def _at_epoch(self, index: int, dataset: str, iepoch: int, seed: int | None) -> dict[str, Any]:
        """Return what `get_more_info` says of an epoch."""
        values = self._bench.curve_values(dataset, self._metric, seed=seed)
        epochs = values.shape[1]
        curve, place = self._bench.curve(index, dataset, seed=seed), integer(0, epochs - 1)("iepoch", iepoch)
        loss, trained, split = curve["train_loss"].iloc[place], curve["train_acc"].iloc[place], curve.attrs["split"]
        if split != self._split(dataset):
            expected = f"None: curves are measured on {split} images, and valid_split is {self._split(dataset)!r}"
            raise InvalidValueError("iepoch", iepoch, expected)
        accuracy = 100 * float(values[index, place])
        info: dict[str, Any] = {"valid-accuracy": accuracy, **({"test-accuracy": accuracy} if split == "test" else {})}
        info |= {"train-accuracy": 100 * float(trained), "train-loss": float(loss)}
        with suppress(MissingResultError):
            info["train-all-time"] = (place + 1) / epochs * self._cost(index, dataset, seed)
        info["comment"] = f"{self._metric} of {self._bench.name} after epoch {iepoch + 1} of {epochs}, {split} split"
        return info

    def simulate_train_eval(
        self, arch: Arch, dataset: str, iepoch: int | None = None, hp: str = "12", account_time: bool = True
    ) -> tuple[float, None, float, float]:
        """Return validation accuracy in percent, latency (not measured: None), cost in seconds, and the sum of costs.

        With `iepoch`, accuracy and cost are those of a training up to that epoch, from 0, as in `get_more_info`.

        Raises
        ------
        MissingResultError
            If the release has no validation split and `valid_split` was not given, or if neither the table nor
            `seconds` says what a training costs.
        """
        arch = self.query_index_by_arch(arch)
        cost = self._cost(arch, dataset)
        info = self.get_more_info(arch, dataset, iepoch, hp)
        cost = cost if iepoch is None else float(info["train-all-time"])
        if "valid-accuracy" not in info:
            raise MissingResultError(
                f"{self._bench.name} has no validation split for {self._metric}; "
                "to select on test images, pass valid_split='test'"
            )
        with ONE_AT_A_TIME:
            self._used_time += cost if flag("account_time", account_time) else 0.0
            return info["valid-accuracy"], None, cost, self._used_time

    @property
    def used_time(self) -> float:
        """Seconds charged by `simulate_train_eval` so far."""
        return self._used_time

    def reset_time(self) -> None:
        """Set the charged seconds to zero."""
        self._used_time = 0.0

    def get_cost_info(self, index: Arch, dataset: str, hp: str = "12") -> dict[str, float | None]:
        """Return ``flops`` and ``params`` in millions, as NATS-Bench does; ``latency`` was not measured: None."""
        cell, skeleton = _cell(index), self._skeleton(dataset)
        return {"flops": cell.flops(skeleton) / 1e6, "params": cell.parameters(skeleton) / 1e6, "latency": None}

    def find_best(
        self,
        dataset: str,
        metric_on_set: str = "test",
        flop_max: float | None = None,
        param_max: float | None = None,
        hp: str = "12",
    ) -> tuple[int, float]:
        """Return index and accuracy in percent of the best cell within limits in millions of FLOPs and parameters.

        All 15,625 cells are looked at, each with its own size, as members of a class differ in it; of equally good
        ones the smallest index is the answer.
        """
        split = self._split(dataset) if _part(metric_on_set) == "valid" else "test"
        if split is None:
            what = f"{self._bench.name} has no validation split for {self._metric}; pass valid_split='test'"
            raise MissingResultError(what)
        frame = self._bench.frame(dataset, [self._column(split)], cells="all")
        given = (("flop_max", flop_max), ("param_max", param_max))
        limits = [np.inf if limit is None else number()(name, limit) for name, limit in given]
        allowed = (frame["flops"] / 1e6 <= limits[0]) & (frame["parameters"] / 1e6 <= limits[1])
        values = frame.loc[allowed, ["index", frame.columns[-1]]].dropna()
        if values.empty:
            raise MissingResultError("no cell within the limits")
        best = values.sort_values(frame.columns[-1], ascending=False, kind="stable").iloc[0]
        return int(best["index"]), 100 * float(best.iloc[1])

    @property
    def evaluated_indexes(self) -> list[int]:
        """Indices of the cells that the release has a result for, ascending."""
        values = [self._bench.values(dataset, self._metric) for dataset in self._bench.datasets]
        return np.flatnonzero(~np.isnan(values).all(axis=0)).tolist()

    def get_net_config(self, index: Arch, dataset: str) -> dict[str, Any]:
        """Return name, width, cells per stage, architecture string and classes of the network, as NATS-Bench does."""
        skeleton = self._skeleton(dataset)
        sizes = {"C": skeleton.channels, "N": skeleton.cells_per_stage}
        return {"name": "infer.tiny", **sizes, "arch_str": str(_cell(index)), "num_classes": skeleton.classes}

    def query_meta_info_by_index(self, arch_index: Arch, hp: str = "12") -> ArchResults:
        """Return all that is known of an architecture behind the methods of NATS-Bench's ``ArchResults``."""
        return ArchResults(self, self.query_index_by_arch(arch_index))

    def query_by_index(self, arch_index: Arch, dataname: str | None = None, hp: str = "12") -> Any:
        """Return an architecture's `ArchResults`, or on a data set what `get_more_info` says of each seed, by seed."""
        results = self.query_meta_info_by_index(arch_index)
        return results if dataname is None else results.query(dataname)

    def query_info_str_by_arch(self, arch: Arch, hp: str = "12") -> str:
        """Return what is known of an architecture as text, two lines for every data set."""
        index = self.query_index_by_arch(arch)
        names = ArchResults(self, index).get_dataset_names()
        lines = [self.arch(index), f"datasets : {names}, extra-info : arch-index={index}"]
        for name in names:
            costs, info = self.get_cost_info(index, name), self.get_more_info(index, name)
            shown = {"valid": info.get("valid-accuracy"), "test": info["test-accuracy"]}
            accuracies = ", ".join(
                f"{split} : [top1 = {value:.2f}%]" for split, value in shown.items() if value is not None
            )
            lines.append(f"{name:14s} FLOP={costs['flops']:6.2f} M, Params={costs['params']:.3f} MB, latency=None ms.")
            lines.append(f"{name:14s} {accuracies} ({info['comment']})")
        return "\n".join(lines)

    query_by_arch = query_info_str_by_arch

    def show(self, index: Arch = -1) -> None:
        """Print what is known of an architecture; of all of them for -1."""
        every = isinstance(index, int) and index < 0
        for each in self.evaluated_indexes if every else [index]:
            print(self.query_info_str_by_arch(each))

    @staticmethod
    def str2matrix(arch_str: str) -> np.ndarray[Any, Any]:
        """Return the 4x4 matrix of operation numbers, [target, source]."""
        return np.asarray(Cell.from_str(arch_str).encode("adjacency"), dtype=float)

    @staticmethod
    def str2lists(arch_str: str) -> list[tuple[tuple[str, int], ...]]:
        """Return for every node its (operation, source) pairs."""
        pairs = list(zip(cells.EDGES, Cell.from_str(arch_str).operations, strict=True))
        return [tuple((op, edge[0]) for edge, op in pairs if edge[1] == target) for target in (1, 2, 3)]

    def _skeleton(self, dataset: str) -> Skeleton:
        return self._bench.info.datasets[self._bench._store.dataset(dataset)].skeleton

    def _cost(self, arch: int, dataset: str, seed: int | None = None) -> float:
        """Return the seconds that one training is charged with."""
        if self._seconds is not None:
            return self._seconds
        if dataset not in self._charged:
            self._charged[dataset] = charged_by(self._bench, dataset)
        try:
            known = self._bench.train_seconds(arch, dataset, seed=seed)
            column = self._charged[dataset] or CLOCK
            return known if column == CLOCK else float(self._bench.values(dataset, column, seed=seed)[arch])
        except MissingResultError as error:
            raise MissingResultError(f"{error.what}; pass seconds= to charge a fixed cost per training") from None

    def _column(self, split: str) -> str:
        return self._metric if split == "test" else f"{self._metric}#{split}"

    def _split(self, dataset: str) -> str | None:
        """Return the split behind the validation keys, None where there is none."""
        if self._valid_split is not None:
            return self._valid_split
        try:
            self._bench.query_many([], dataset, self._metric, split="validation")
        except MissingResultError:
            return None
        return "validation"

    def _percent(self, index: int | str, dataset: str, split: str, seed: int | None) -> float:
        return 100 * self._bench.query(index, dataset, self._metric, seed=seed, split=split)

    def _seed(self, index: int | str, dataset: str, is_random: bool | int) -> int | None:
        if not isinstance(is_random, (bool, np.bool_)):
            seed: int = integer(0)("is_random", is_random)
            return seed
        if not is_random:
            return None
        ran = list(self._bench.lookup(index, dataset, self._metric).seeds)
        if not ran:
            raise MissingResultError(f"{self._bench.name} gives no single seeds to draw from; use is_random=False")
        return int(self._rng.choice(ran))


class ArchResults:
    """One architecture in a release, with the methods of NATS-Bench's class of this name.

    Parameters
    ----------
    api : NATSAdapter
    arch_index : int
    """

    def __init__(self, api: NATSAdapter, arch_index: int) -> None:
        self._api, self.arch_index, self.arch_str = api, arch_index, api.arch(arch_index)

    def __repr__(self) -> str:
        return f"ArchResults({self._api!r}, {self.arch_index})"

    def get_dataset_names(self) -> list[str]:
        """Return the data sets with a result."""
        bench, metric = self._api._bench, self._api._metric
        return [name for name in bench.datasets if not np.isnan(bench.values(name, metric)[self.arch_index])]

    def get_dataset_seeds(self, dataset: str) -> list[int]:
        """Return the seeds that were run."""
        return list(self._api._bench.lookup(self.arch_index, dataset, self._api._metric).seeds)

    def get_compute_costs(self, dataset: str) -> dict[str, float | None]:
        """Return what `NATSAdapter.get_cost_info` does."""
        return self._api.get_cost_info(self.arch_index, dataset)

    def get_metrics(
        self, dataset: str, setname: str, iepoch: int | None = None, is_random: bool | int = False
    ) -> dict[str, Any]:
        """Return accuracy in percent on a split and seconds of training; there is no loss: None."""
        info = self._api.get_more_info(self.arch_index, dataset, iepoch, is_random=is_random)
        name = f"{_part(setname)}-accuracy"
        if name not in info:
            raise MissingResultError(f"the release has no validation split for {dataset}; pass valid_split='test'")
        all_time = info.get("train-all-time")
        return {"iepoch": iepoch, "loss": None, "accuracy": info[name], "cur_time": None, "all_time": all_time}

    def query(self, dataset: str, seed: int | None = None) -> Any:
        """Return what `NATSAdapter.get_more_info` says of a seed, or of every seed, by seed."""
        if seed is not None:
            return self._api.get_more_info(self.arch_index, dataset, is_random=seed)
        return {number: self.query(dataset, number) for number in self.get_dataset_seeds(dataset)}


def _part(setname: str) -> str:
    """Return ``"test"`` or ``"valid"`` for NATS-Bench's name of a set of images."""
    if setname not in ("test", "ori-test", "x-test", "valid", "x-valid"):
        raise InvalidValueError("metric_on_set", setname, "test, ori-test, x-test, valid or x-valid")
    return "valid" if "valid" in setname else "test"


def _cell(arch: Any) -> Cell:
    """Return the cell; the structures of NATS-Bench's own programs say what they are with a method ``tostr``."""
    return Cell.of(arch.tostr() if hasattr(arch, "tostr") else arch)

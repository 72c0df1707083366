"""What lies beside a runs table, as arrays: curves by epoch and outcomes by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Booleans, Floats, Integers
from ..table import Benchmark, Reader, numpy_column

CURVES = ("clean_acc", "pgd_acc", "train_acc")


@dataclass(frozen=True)
class Curves:
    """Curves of runs that have equally many epochs, the most there are."""

    index: Integers
    seed: Integers
    values: dict[str, Floats]  # by column, shape (runs, epochs)
    split: str


def curves(bench: Benchmark, dataset: str) -> Curves | None:
    """Return the curves of a data set; None where there are none."""
    path = bench._store.reader.paths[0].with_name("curves.parquet") if bench._store.reader.paths else None
    if path is None or not path.exists():
        return None
    table = Reader(path).read(["index", "seed", "epoch", "split", *CURVES], dataset=dataset)
    index, seed, epoch = (numpy_column(table.column(name))[0].astype(np.int64) for name in ("index", "seed", "epoch"))
    order = np.lexsort((epoch, seed, index))
    epochs = int(epoch.max())
    shape = (-1, epochs)
    values = {name: numpy_column(table.column(name))[0][order].reshape(shape) for name in CURVES}
    return Curves(index[order][::epochs], seed[order][::epochs], values, table.column("split")[0].as_py())


def outcomes(bench: Benchmark, dataset: str, column: str, runs: list[tuple[int, int]]) -> Booleans | None:
    """Return which images of its split runs (cell, seed) classify correctly, shape (runs, images); None without any."""
    path = bench._store.reader.paths[0].with_name("outcomes.parquet") if bench._store.reader.paths else None
    if path is None or not path.exists():
        return None
    table = Reader(path).read(["index", "seed", "metric", "images", "correct"], dataset=dataset)
    import pyarrow.compute as pc

    table = table.filter(pc.equal(table.column("metric"), column))
    index, seed = (numpy_column(table.column(name))[0].tolist() for name in ("index", "seed"))
    bits = dict(zip(zip(index, seed, strict=True), table.column("correct").to_pylist(), strict=True))
    images = table.column("images")[0].as_py()
    packed = np.frombuffer(b"".join(bits[run] for run in runs), np.uint8).reshape(len(runs), -1)
    return np.unpackbits(packed, axis=1, count=images, bitorder="little").astype(bool)

"""What a page knows is packed without loss: arrays, streams, counts and floats."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_tables import SMALL, few_runs

from nasbench_robust.errors import InvalidValueError, MissingResultError
from nasbench_robust.explorer import page, write_page
from nasbench_robust.explorer.packing import PRECISION, Blob, encode_streams, frequencies, smallest_integers
from nasbench_robust.explorer.payload import payload
from nasbench_robust.table import Benchmark, runs_table

WHOLE = 2**PRECISION


def bytes_of(blob: Blob) -> bytes:
    return zlib.decompress(base64.b64decode(blob.text()))


def read(content: bytes, about: dict) -> np.ndarray:
    """Read an array as the page does."""
    dtype = np.dtype(about["type"])
    part = np.frombuffer(content, np.uint8, about["length"] * dtype.itemsize, about["at"])
    return part.reshape(dtype.itemsize, -1).T.copy().view(dtype).ravel()


def decode(words: np.ndarray, tables: list[np.ndarray]) -> list[int]:
    """Decode a stream of symbols with the frequencies of each, as the page does, one after the other."""
    state, place, symbols = int(words[0]) << 16 | int(words[1]), 2, []
    for sizes in tables:
        starts = np.cumsum(sizes) - sizes
        symbol = int(np.searchsorted(starts + sizes, state % WHOLE, side="right"))
        symbols.append(symbol)
        state = int(sizes[symbol]) * (state // WHOLE) + state % WHOLE - int(starts[symbol])
        if state < 1 << 16:
            state, place = state << 16 | int(words[place]), place + 1
    assert place == len(words)
    return symbols


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_streams_are_read_as_they_were_written(seed, steps, sequences):
    """Also of symbols that hardly occur, and of ones that are certain."""
    rng = np.random.default_rng(seed)
    tables = [frequencies(rng.geometric(0.001, rng.integers(1, 9)) * (rng.random() < 0.9) + 1) for _ in range(steps)]
    symbols = np.stack([rng.integers(0, len(table), sequences) for table in tables])
    sizes = np.stack([table[row] for table, row in zip(tables, symbols, strict=True)]).astype(np.uint16)
    starts = np.stack([(np.cumsum(table) - table)[row] for table, row in zip(tables, symbols, strict=True)])
    words, lengths = encode_streams(starts.astype(np.uint16), sizes)
    assert lengths.sum() == len(words)
    for each, stream in enumerate(np.split(words, np.cumsum(lengths)[:-1])):
        assert decode(stream, tables) == symbols[:, each].tolist()


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=400).filter(any))
def test_frequencies_add_up_and_forget_no_symbol(counts):
    scaled = frequencies(np.array(counts))
    assert scaled.sum() == WHOLE
    assert ((scaled > 0) == (np.array(counts) > 0)).all()


def test_arrays_come_back():
    blob, rng = Blob(), np.random.default_rng(0)
    arrays = [rng.random(9), np.arange(70_000), np.array([0, 255]), np.array([True, False]), np.array([], int)]
    arrays[1:3] = [smallest_integers(array) for array in arrays[1:3]]
    places = [blob.add(array) for array in arrays]
    assert [place["type"] for place in places[:4]] == ["f8", "u4", "u1", "b1"]
    content = bytes_of(blob)
    for array, place in zip(arrays, places, strict=True):
        assert read(content, {**place, "type": place["type"].replace("b1", "?")}).tolist() == array.tolist()


def test_accuracies_are_stored_as_counts_where_these_say_all_and_else_as_they_are():
    """A row whose value is no share of its count, and one without a count, keep their floats."""
    rows = few_runs()
    exact, blobs = payload([Benchmark(runs_table(SMALL, rows))], False)
    metrics = {metric["column"]: metric for metric in exact["releases"][0]["datasets"][0]["metrics"]}
    assert "values" not in metrics["clean_acc"]
    rows[0] = rows[0] | {"clean_acc": rows[0]["clean_acc"] + 1e-9}
    rows[1] = rows[1] | {"clean_correct": None}
    bench = Benchmark(runs_table(SMALL, rows))
    about, blobs = payload([bench], False)
    clean = about["releases"][0]["datasets"][0]["metrics"][0]
    store = bench._store
    [metric] = [metric for metric in store.measured("digits") if metric.column == "clean_acc"]
    content = bytes_of(blobs["table"])
    assert sorted(read(content, clean["values"])) == sorted(store.rows("digits", metric).value)
    assert sorted(read(content, clean["counts"]) - 1.0)[0] == -1


def test_a_release_stands_once():
    bench = Benchmark(runs_table(SMALL, few_runs()))
    with pytest.raises(InvalidValueError, match=r"benches is 'small@2', expected each release once"):
        page([bench, bench])


@pytest.mark.parametrize("given", [[], None, ["digits"], "digits", Benchmark(runs_table(SMALL, few_runs()))])
def test_what_is_no_list_of_releases_is_refused(given, tmp_path):
    with pytest.raises(
        InvalidValueError, match=r"^(benches is .*|no benches is given), expected a sequence of at least"
    ):
        write_page(tmp_path / "page.html", given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["page.txt", None, 3])
def test_a_page_is_called_after_what_it_is(path):
    with pytest.raises(InvalidValueError, match=r"expected a name that ends in \.html"):
        write_page(path, [Benchmark(runs_table(SMALL, few_runs()))])


def test_a_table_without_results_is_none_to_look_at():
    failed = {"dataset": "digits", "index": 3, "seed": 0, "seeds": 1, "test_images": 517, "failure": "out of memory"}
    with pytest.raises(MissingResultError, match="small has no result to show"):
        page([Benchmark(runs_table(SMALL, [failed]))])

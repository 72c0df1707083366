"""Pickles are read without doing what they say."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from pictures import python2_pickle

from nasbench_robust.errors import MissingDataError, NasbenchRobustError, SourceFormatError
from nasbench_robust.images.pickles import load_pickle

CONTENT = {
    "data": np.arange(24, dtype=np.uint8).reshape(4, 6) * 10,
    "mean": np.linspace(0, 1, 6),
    "labels": [3, 1, 2, 0],
    "batch_label": "training batch 1 of 5",
}


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            assert found[key].dtype == value.dtype
            np.testing.assert_array_equal(found[key], value)
        else:
            assert found[key] == value


def test_pickle_of_python_2_is_what_python_reads_too(tmp_path: Path) -> None:
    content = python2_pickle(CONTENT)
    assert_same(pickle.loads(content, encoding="latin1"), CONTENT)
    assert_same(load_pickle(written(tmp_path / "batch", content)), CONTENT)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
def test_pickles_of_python_3_are_read_in_every_protocol(protocol: int, order: str, tmp_path: Path) -> None:
    content = {**CONTENT, "data": np.asarray(CONTENT["data"], order=order)}
    found = load_pickle(written(tmp_path / "batch", pickle.dumps(content, protocol)))
    assert_same(found, CONTENT)


def test_byte_order_and_keys_in_bytes_are_understood(tmp_path: Path) -> None:
    content = {b"labels": np.array([1, 2, 300], dtype=">i4")}
    found = load_pickle(written(tmp_path / "batch", pickle.dumps(content, 2)))
    assert found["labels"].tolist() == [1, 2, 300]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_runs_a_command_is_refused_and_runs_nothing(protocol: int, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    harmful = pickle.dumps({"data": Call(os.system, f"touch {trace}")}, protocol)
    pickle.loads(harmful)
    assert trace.exists()  # it is dangerous in earnest
    trace.unlink()
    with pytest.raises(SourceFormatError, match=r"it asks for (posix|nt)\.system; only .* nothing was executed"):
        load_pickle(written(tmp_path / "batch", harmful))
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"data": Call(eval, "1 + 1")}),
        pickle.dumps({"data": Call(getattr, [], "append")}),
        pickle.dumps({"data": Call(np.load, "file.npy")}),
        pickle.dumps({"data": np.array([{}], dtype=object)}),
        pickle.dumps({"data": np.zeros(2, dtype="u1,f4")}),
        pickle.dumps({"data": np.array(["text"])}),
        b"\x80\x02}U\x04datac_codecs\nencode\n(X\x01\x00\x00\x00aU\x04zlibtRs.",
        b"\x80\x02cnumpy\ndtype\n}U\x04kindU\x02O8sb.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.",
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",
    ],
)
def test_whatever_else_a_pickle_asks_for_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(SourceFormatError):
        load_pickle(written(tmp_path / "batch", content))


def test_a_cut_pickle_is_our_error_wherever_it_was_cut(tmp_path: Path) -> None:
    for content in (python2_pickle(CONTENT), pickle.dumps(CONTENT, 5)):
        for length in range(len(content) - 1):
            with pytest.raises(NasbenchRobustError):
                load_pickle(written(tmp_path / "batch", content[:length]))


def test_a_damaged_pickle_is_our_error_or_another_value(tmp_path: Path) -> None:
    content = python2_pickle(CONTENT)
    rng = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] = rng.integers(256)
        try:
            load_pickle(written(tmp_path / "batch", bytes(damaged)))
        except (NasbenchRobustError, MemoryError):
            continue


def test_other_content_and_other_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceFormatError, match="holds a list, expected a dictionary"):
        load_pickle(written(tmp_path / "batch", pickle.dumps([1])))
    with pytest.raises(MissingDataError, match=r"cannot read .*none"):
        load_pickle(tmp_path / "none")

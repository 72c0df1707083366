"""What a new process has imported: nothing for the package itself, no heavy library for a query."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import nasbench_robust
from nasbench_robust.native import is_available

QUERY = """
import nasbench_robust as nbr
bench = nbr.load({table!r})
bench.query({arch!r}, "cifar10", "pgd_acc")
"""
ARCH = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
REPORT = """
import json, sys
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
HEAVY = {"pandas", "scipy", "torch", "requests", "huggingface_hub"}


def imported_by(program: str) -> set[str]:
    """Return the top-level modules of a new process after `program`."""
    done = subprocess.run([sys.executable, "-c", program + REPORT], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("program", ["import nasbench_robust, nasbench_robust.errors", "import nasbench_robust.cli"])
def test_importing_the_package_imports_nothing_but_the_standard_library(program):
    third_party = imported_by(program) - imported_by("") - set(sys.stdlib_module_names)
    assert third_party == {"nasbench_robust"}


def test_a_star_import_gives_every_public_name():
    program = "from nasbench_robust import *\nassert Cell.from_index(9).index == 9 and callable(load)"
    assert "torch" not in imported_by(program)


@pytest.mark.parametrize(
    "more",
    [
        "bench.query(0, 'imagenet', 'clean_acc')",
        "bench.query_many([0, 1, str(nbr.Cell.from_index(2))], 'cifar100', 'clean_acc')",
        "bench.lookup(77, 'imagenet', 'autoattack_acc')",
        "api = nbr.NATSAdapter(bench, 'pgd_acc', valid_split='test', seconds=1)\napi.simulate_train_eval(3, 'cifar10')",
    ],
    ids=["query", "query_many", "lookup", "NATSAdapter"],
)
def test_a_question_imports_numpy_and_pyarrow_and_no_heavier_library(made_up_table, more):
    imported = imported_by(QUERY.format(table=str(made_up_table), arch=ARCH) + more)
    assert {"numpy", "pyarrow"} <= imported
    assert imported.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ("question", "without"),
    [
        ("query(9930, metric='pgd_acc')", {"numpy", "pyarrow"}),
        (f"query({ARCH!r}, 'digits', 'clean_acc')", {"numpy", "pyarrow"}),
        ("lookup(9930, metric='pgd_acc', seed=1)", {"pyarrow"}),
        ("query_many([1, 2], metric='pgd_acc', split='validation')", {"pyarrow"}),
    ],
)
def test_the_bundled_release_is_asked_without_libraries(question, without):
    nasbench_robust.load()  # unpacks it
    imported = imported_by(f"import nasbench_robust as nbr\nnbr.load().{question}\n")
    assert imported.isdisjoint(HEAVY | without)


@pytest.mark.parametrize(
    ("command", "without"),
    [
        (["query", "9930", "-m", "pgd_acc"], {"numpy", "pyarrow"}),
        (["best", "-m", "pgd_acc"], {"pyarrow"}),
        (["pareto", "--json"], {"pyarrow"}),
        (["export", "--metrics", "clean_acc"], {"pyarrow"}),
        (["rank", "--top", "3"], {"pyarrow", "scipy", "sklearn"}),
        (["validate", "digits"], set()),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_commands_import_what_they_need(command, without):
    nasbench_robust.load()  # unpacks it
    imported = imported_by(f"from nasbench_robust.cli import main\nmain({command})\n")
    assert imported.isdisjoint(HEAVY | without)


@pytest.mark.skipif(not is_available(), reason="the package was installed without the native engine")
def test_a_native_run_and_its_workers_need_no_heavy_libraries(tmp_path):
    options = ["--out", str(tmp_path), "--cells", "3999", "--seeds", "0"]
    for command in (["train", "--index", "3999", "--out", str(tmp_path)], ["run", *options]):
        program = f"from nasbench_robust.cli import main\nassert main({command!r}) == 0\n"
        assert imported_by(program).isdisjoint({*HEAVY, "sklearn", "PIL"})
    assert list(tmp_path.rglob("*-03999-0.parquet"))


def test_scoring_needs_no_heavy_libraries_but_torch(tmp_path):
    command = ["score", "--out", str(tmp_path), "--cells", "3999"]
    work = str(tmp_path / "work")
    for more, needed in ((["--write-worklist", work], set()), (["--work", work, "--task", "0"], {"torch"})):
        program = f"from nasbench_robust.cli import main\nassert main({command + more!r}) == 0\n"
        assert imported_by(program) & {*HEAVY, "sklearn"} == needed


def test_shards_are_read_without_heavy_libraries_too(made_up_table, tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "part-0.parquet").symlink_to(made_up_table)
    assert imported_by(QUERY.format(table=str(tmp_path), arch=ARCH)).isdisjoint(HEAVY)


def test_public_names_are_listed_and_others_are_attribute_errors():
    assert set(nasbench_robust.__all__) <= set(dir(nasbench_robust))
    assert all(hasattr(nasbench_robust, name) for name in nasbench_robust.__all__)
    with pytest.raises(AttributeError, match="'nasbench_robust' has no attribute 'quer'"):
        _ = nasbench_robust.quer

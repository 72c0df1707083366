"""Every kind of finding from a table broken on purpose, none from a sound one, and never an exception."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nasbench_robust as nbr
from nasbench_robust import cells
from nasbench_robust.errors import TableError
from nasbench_robust.metrics import Attack, Metric, fgsm, pgd
from nasbench_robust.releases.importers import import_standard_file
from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import (
    Benchmark,
    DatasetInfo,
    Finding,
    Reader,
    ReleaseInfo,
    mean_by_index,
    read_table,
    runs_table,
    validate,
    write_table,
)

CELL = 1000  # a connected representative
DISCONNECTED = 10
MEMBER = int(np.flatnonzero(cells.representatives() != np.arange(cells.SIZE))[0])
IMAGES = 10_000


@pytest.fixture(scope="module")
def table(made_up_table: Path) -> pa.Table:
    """The made-up release in memory, data set names as plain strings."""
    read = read_table(made_up_table)
    plain = pa.field("dataset", pa.string(), nullable=False)
    return read.set_column(1, plain, read.column("dataset").cast("string"))


def errors(source: object) -> list[Finding]:
    return [finding for finding in validate(source) if finding.severity == "error"]


def row_of(table: pa.Table, index: int, seeds: int, dataset: str = "cifar10") -> int:
    """Return the number of the row that holds a cell's means (`seeds` 3) or its AutoAttack accuracy (1)."""
    found = np.flatnonzero(
        (np.array(table.column("dataset").to_pylist()) == dataset)
        & (table.column("index").to_numpy() == index)
        & (table.column("seeds").to_numpy() == seeds)
    )
    assert len(found) == 1
    return int(found[0])


def changed(table: pa.Table, row: int, **values: object) -> pa.Table:
    """Return the table with other values in one row."""
    for name, value in values.items():
        field = table.schema.field(name)
        one = pa.chunked_array([pa.array([value], field.type)])
        column = table.column(name)
        parts = [*column.slice(0, row).chunks, *one.chunks, *column.slice(row + 1).chunks]
        table = table.set_column(table.schema.get_field_index(name), field, pa.chunked_array(parts, field.type))
    return table


def measured(metric: str, correct: int, seeds: int, images: int = IMAGES) -> dict[str, float]:
    """Return an accuracy with the count that it stands for."""
    return {metric: correct / (images * seeds), metric.replace("_acc", "_correct"): correct}


def test_changed_changes_one_row_alone(table):
    row = row_of(table, CELL, 3)
    other = changed(table, row, clean_acc=0.5)
    assert other.column("clean_acc")[row].as_py() == 0.5
    assert other.drop_columns(["clean_acc"]).equals(table.drop_columns(["clean_acc"]))
    assert other.take([row - 1, row + 1]).equals(table.take([row - 1, row + 1]))


# ---------------------------------------------------------------------- sound tables


def test_the_made_up_table_is_sound_in_every_form(table, made_up_table, tmp_path):
    assert validate(table) == validate(made_up_table) == validate(str(made_up_table)) == []
    for number, start in enumerate(range(0, table.num_rows, 10_000)):
        write_table(table.slice(start, 10_000), tmp_path / f"{number}.parquet")
    assert validate(tmp_path) == []
    assert nbr.validate is validate


def test_the_published_table_has_no_errors(published_table):
    findings = validate(published_table)
    assert {(finding.kind, finding.severity) for finding in findings} == {("order", "warning")}
    # FGSM is not always the weaker attack: by up to .0026, in more than a thousand rows of ImageNet16-120
    assert all(finding.metric.startswith("pgd_acc") for finding in findings)
    assert "by up to 0.0026" in str(findings[0])
    assert max(len(finding.indices) for finding in findings if finding.dataset == "ImageNet16-120") > 1_000


def test_the_standard_table_has_no_errors_though_its_attacks_are_not_settled(standard_file):
    findings = validate(import_standard_file(standard_file))
    assert {(finding.kind, finding.severity) for finding in findings} == {("order", "warning")}


def test_disconnected_cells_of_the_published_table_are_at_exact_chance(published):
    indices = np.flatnonzero(~cells.connected())
    for dataset, chance in (("cifar10", 1 / 10), ("cifar100", 1 / 100), ("ImageNet16-120", 1 / 120)):
        assert np.allclose(published.query_many(indices, dataset, "clean_acc"), chance, atol=1e-7, rtol=0)


# ---------------------------------------------------------------------- one kind after the other


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [str(finding) for finding in findings]
    return findings[0]


def test_a_placeholder(table):
    row = row_of(table, CELL, 1)
    weaker = table.column("pgd_acc@8/255")[row_of(table, CELL, 3)].as_py()
    assert weaker < 0.49
    findings = errors(changed(table, row, **measured("autoattack_acc@8/255", 5_000, 1)))
    assert {finding.kind for finding in findings} == {"placeholder"}
    assert {(finding.dataset, finding.metric, finding.indices) for finding in findings} == {
        ("cifar10", "autoattack_acc@8/255", (CELL,))
    }
    assert "exactly 0.5, above a weaker attack: a placeholder, by up to" in findings[0].message


@pytest.mark.parametrize(
    ("lower", "upper", "seeds"),
    [
        ("pgd_acc@8/255", "fgsm_acc@8/255", 3),
        ("pgd_acc@3/255", "fgsm_acc@3/255", 3),
        ("fgsm_acc@8/255", "fgsm_acc@3/255", 3),
        ("pgd_acc@8/255", "pgd_acc@3/255", 3),
        ("fgsm_acc@3/255", "clean_acc", 3),
        ("autoattack_acc@8/255", "pgd_acc@8/255", 1),
    ],
)
def test_a_stronger_attack_that_leaves_more_images_right(table, lower, upper, seeds):
    row = row_of(table, CELL, 3)
    limit = math.ceil(table.column(upper)[row].as_py() * IMAGES)
    broken = changed(table, row_of(table, CELL, seeds), **measured(lower, (limit + 50) * seeds, seeds))
    finding = next(finding for finding in errors(broken) if finding.message.startswith(f"{lower} > {upper}"))
    assert (finding.kind, finding.dataset, finding.metric, finding.indices) == ("order", "cifar10", lower, (CELL,))
    assert {finding.kind for finding in errors(broken)} == {"order"}


def test_a_stronger_attack_that_leaves_a_few_more_images_right_is_a_warning(table):
    row = row_of(table, CELL, 3)
    limit = math.ceil(table.column("fgsm_acc@8/255")[row].as_py() * IMAGES)
    broken = changed(table, row, **measured("pgd_acc@8/255", (limit + 20) * 3, 3))
    finding = only(validate(broken))
    assert (finding.kind, finding.severity, finding.indices) == ("order", "warning", (CELL,))
    assert finding.message.startswith("pgd_acc@8/255 > fgsm_acc@8/255, by up to 0.002")


@pytest.mark.parametrize(
    ("attacks", "severity"),
    [((Attack("fgsm", 0.1), Attack("pgd", 0.1)), "warning"), ((fgsm(0.1), pgd(0.1)), "error")],
    ids=["unknown settings", "known settings"],
)
def test_attacks_without_settings_are_not_out_of_order_for_certain(attacks, severity):
    info = dataclasses.replace(TINY, metrics=(Metric("clean_acc"), *map(Metric.of, attacks)))
    row = tiny_row(CELL, 1, clean_correct=300)
    row |= {"fgsm_acc@0.1": 100 / 517, "fgsm_correct@0.1": 100, "pgd_acc@0.1": 200 / 517, "pgd_correct@0.1": 200}
    finding = only([finding for finding in validate(runs_table(info, [row])) if finding.kind == "order"])
    assert (finding.severity, finding.metric, finding.indices) == (severity, "pgd_acc@0.1", (CELL,))


@pytest.mark.parametrize("value", [0.25, 0.123456789])
def test_an_accuracy_off_its_grid(table, value):
    row = row_of(table, CELL, 3)
    finding = only([f for f in errors(changed(table, row, clean_acc=value)) if f.kind == "grid"])
    assert (finding.dataset, finding.metric, finding.indices) == ("cifar10", "clean_acc", (CELL,))
    assert "is not the count of correct images over images x seeds" in finding.message


def test_an_accuracy_without_a_count_where_others_have_one(table):
    finding = only(validate(changed(table, row_of(table, CELL, 3), clean_correct=None)))
    assert (finding.kind, finding.severity, finding.metric, finding.indices) == ("grid", "error", "clean_acc", (CELL,))
    assert finding.message.startswith("no count")


def test_a_count_without_an_accuracy(table):
    findings = validate(changed(table, row_of(table, CELL, 3), clean_acc=None))
    assert [(finding.kind, finding.severity) for finding in findings] == [("missing", "warning"), ("grid", "error")]
    assert {(finding.metric, finding.indices) for finding in findings} == {("clean_acc", (CELL,))}
    assert findings[1].message == "a count without an accuracy"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "NaN stored as an accuracy"),
        (math.inf, "an accuracy outside [0, 1], for example inf"),
        (-math.inf, "an accuracy outside [0, 1], for example -inf"),
        (-0.1, "an accuracy outside [0, 1], for example -0.1"),
        (1.1, "an accuracy outside [0, 1], for example 1.1"),
        (1e308, "an accuracy outside [0, 1], for example 1e+308"),
    ],
)
def test_a_value_that_is_no_accuracy(table, value, message):
    broken = changed(table, row_of(table, CELL, 3), clean_acc=value)
    finding = only([finding for finding in errors(broken) if finding.kind == "range"])
    assert (finding.message, finding.metric, finding.indices) == (message, "clean_acc", (CELL,))


def test_a_cell_twice(table):
    row = row_of(table, CELL, 3)
    doubled = pa.concat_tables([table, table.slice(row, 1)])
    findings = errors(doubled)
    assert {(finding.kind, finding.dataset, finding.indices) for finding in findings} == {
        ("doubled", "cifar10", (CELL,))
    }
    assert {finding.metric for finding in findings} == {
        metric.column for metric in Reader(table).info().metrics if metric.name != "autoattack_acc"
    }


def test_a_cell_twice_with_one_seed():
    rows = [tiny_row(CELL, seed) for seed in (1, 2, 2)]
    findings = [finding for finding in validate(runs_table(TINY, rows)) if finding.severity == "error"]
    assert {(finding.kind, finding.indices) for finding in findings} == {("doubled", (CELL,))}
    assert not errors(runs_table(TINY, rows[:2]))


def test_a_failed_run_beside_a_result_of_its_seed():
    rows = [tiny_row(CELL, 1), tiny_row(CELL, 1, failure="out of memory", clean_acc=None, clean_correct=None)]
    assert {finding.kind for finding in errors(runs_table(TINY, rows))} == {"doubled"}


def test_a_mean_beside_single_seeds_of_a_cell():
    """The query API refuses such a table and sends its reader here."""
    broken = runs_table(TINY, [tiny_row(CELL, 1), tiny_row(CELL, None, seeds=3, clean_correct=300)])
    with pytest.raises(TableError, match="several clean_acc for one cell and seed; run validate on it"):
        Benchmark(broken).query(CELL, "digits", "clean_acc")
    assert {finding.kind for finding in errors(broken)} == {"doubled"}


def test_a_negative_seed():
    assert errors(runs_table(TINY, [tiny_row(CELL, -7)]))


def test_results_of_a_cell_that_is_no_representative(table):
    finding = only(errors(changed(table, row_of(table, CELL, 3), index=MEMBER)))
    assert (finding.kind, finding.dataset, finding.indices) == ("alias", "cifar10", (MEMBER,))


def test_a_cell_without_a_row(table):
    keep = np.ones(table.num_rows, bool)
    keep[[row_of(table, CELL, seeds, "cifar100") for seeds in (1, 3)]] = False
    finding = only(validate(table.filter(pa.array(keep))))
    assert (finding.kind, finding.severity, finding.dataset) == ("missing", "warning", "cifar100")
    assert finding.message == "1 of 6466 representatives have no row"
    assert finding.indices == (CELL,)


def test_a_cell_without_a_metric(table):
    keep = np.arange(table.num_rows) != row_of(table, CELL, 1)
    finding = only(validate(table.filter(pa.array(keep))))
    assert (finding.kind, finding.severity, finding.metric) == ("missing", "warning", "autoattack_acc@8/255")
    assert finding.indices == (CELL,)


def test_a_metric_that_was_not_measured_on_a_data_set_at_all_is_no_finding(table):
    others = np.array(table.column("dataset").to_pylist()) != "cifar100"
    for name in ("autoattack_acc@8/255", "autoattack_correct@8/255"):
        field = table.schema.field(name)
        values = [value if keep else None for value, keep in zip(table.column(name).to_pylist(), others, strict=True)]
        table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))
    assert validate(table) == []


def test_a_failed_run_with_a_number():
    broken = runs_table(TINY, [tiny_row(CELL, 1), tiny_row(CELL, 2, failure="out of memory")])
    finding = only(errors(broken))
    assert (finding.kind, finding.metric, finding.indices) == ("failure", "clean_acc", (CELL,))
    assert finding.message == "a failed run carries a number"


@pytest.mark.parametrize("reason", ["out of memory", ""])
def test_a_failed_run_without_numbers_is_a_warning(reason):
    failed = tiny_row(CELL, 2, failure=reason, clean_acc=None, clean_correct=None)
    findings = validate(runs_table(TINY, [tiny_row(CELL, 1), tiny_row(0, 1), failed]))
    finding = only([finding for finding in findings if finding.kind != "missing"])
    assert (finding.kind, finding.severity, finding.indices) == ("failure", "warning", (CELL,))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"test_images": 9_999}, "test_images differs from the release's 10000"),
        ({"test_images": -1}, "test_images differs from the release's 10000"),
        ({"seeds": 0}, "seeds is less than 1"),
        ({"seeds": -3}, "seeds is less than 1"),
        ({"seed": 7}, "a row of one seed says that it stands for several"),
    ],
)
def test_numbers_of_images_and_seeds(table, values, message):
    broken = changed(table, row_of(table, CELL, 3), **values)
    finding = only([finding for finding in errors(broken) if finding.kind == "images"])
    assert (finding.message, finding.dataset, finding.indices) == (message, "cifar10", (CELL,))


def test_counts_of_a_split_are_over_its_own_images():
    assert errors(runs_table(HELD_OUT, [validation_row(200, 256)])) == []
    finding = only(errors(runs_table(HELD_OUT, [validation_row(200, 517)])))
    assert (finding.kind, finding.metric, finding.indices) == ("grid", "clean_acc#validation", (CELL,))


@pytest.mark.parametrize(("more", "severity"), [(10, "warning"), (11, "error")])
def test_some_images_of_a_small_split_are_no_error_in_the_order_of_attacks(more, severity):
    correct = {"clean_acc#validation": 150, "pgd_acc@0.1#validation": 150 + more}
    counts = {name.replace("_acc", "_correct"): count for name, count in correct.items()}
    row = tiny_row(CELL, 1, **counts, **{name: count / 256 for name, count in correct.items()})
    finding = only([finding for finding in validate(runs_table(HELD_OUT, [row])) if finding.kind == "order"])
    assert (finding.severity, finding.metric, finding.indices) == (severity, "pgd_acc@0.1#validation", (CELL,))
    assert finding.message == f"pgd_acc@0.1#validation > clean_acc#validation, by up to {more / 256:.4f}"


def test_a_split_without_a_stated_size():
    unstated = dataclasses.replace(HELD_OUT, datasets=TINY.datasets)
    table = runs_table(unstated, [validation_row(200, 256)])
    finding = only(errors(table))
    assert (finding.kind, finding.metric, finding.indices) == ("images", "clean_acc#validation", (CELL,))
    assert finding.message == "the release does not say how many images the validation split has"
    bench = Benchmark(table)
    for question in (lambda: bench.lookup(CELL, metric="clean_acc", split="validation"), bench.metrics):
        with pytest.raises(TableError, match="how many images the validation split of digits has; run validate"):
            question()
    assert errors(runs_table(unstated, [tiny_row(CELL, 1)])) == []  # named, and not measured


def test_a_disconnected_cell_that_is_not_at_chance(table):
    finding = only(errors(changed(table, row_of(table, DISCONNECTED, 3), **measured("clean_acc", 6_000, 3))))
    assert (finding.kind, finding.metric, finding.indices) == ("chance", "clean_acc", (DISCONNECTED,))
    assert finding.message == "a disconnected cell is not at chance, 0.1000"


def test_a_connected_cell_at_exact_chance_is_a_warning(table):
    names = [metric.column for metric in Reader(table).info().metrics if metric.name != "autoattack_acc"]
    at_chance = {key: value for name in names for key, value in measured(name, 3_000, 3).items()}
    broken = changed(table, row_of(table, CELL, 3), **at_chance)
    broken = changed(broken, row_of(table, CELL, 1), **measured("autoattack_acc@8/255", 1_000, 1))
    finding = only(validate(broken))
    assert (finding.kind, finding.severity, finding.indices) == ("chance", "warning", (CELL,))


# ---------------------------------------------------------------------- schema, cells, files


@pytest.mark.parametrize(
    "name", ["release", "dataset", "index", "seeds", "clean_acc", "clean_correct", "failure", "date"]
)
def test_a_missing_column(table, name):
    finding = only(validate(table.drop_columns([name])))
    assert (finding.kind, finding.severity, finding.message) == ("schema", "error", f"no column {name!r}")


@pytest.mark.parametrize(
    ("name", "type_", "message"),
    [
        ("index", pa.int64(), "column 'index' is int64, expected int32"),
        ("index", pa.string(), "column 'index' is string, expected int32"),
        ("clean_acc", pa.float32(), "column 'clean_acc' is float, expected double"),
        ("clean_acc", pa.string(), "column 'clean_acc' is string, expected double"),
        ("seeds", pa.float64(), "column 'seeds' is double, expected int16"),
        ("dataset", pa.binary(), "column 'dataset' is binary, expected string"),
    ],
)
def test_a_column_of_the_wrong_type(table, name, type_, message):
    broken = table.set_column(table.schema.get_field_index(name), name, table.column(name).cast(type_))
    findings = [finding for finding in validate(broken) if finding.message.startswith(f"column {name!r}")]
    assert (only(findings).kind, only(findings).message) == ("schema", message)


@pytest.mark.parametrize("name", ["index", "dataset", "seeds", "test_images", "release"])
def test_nulls_where_there_must_be_none(table, name):
    values = [*table.column(name).to_pylist()[:-1], None]
    position = table.schema.get_field_index(name)
    broken = table.set_column(position, name, pa.array(values, table.schema.field(name).type))
    assert f"column {name!r} has nulls" in {finding.message for finding in validate(broken)}


def test_a_data_set_that_the_release_does_not_describe(table):
    finding = only(validate(changed(table, 5, dataset="mnist")))
    assert finding.kind == "schema"
    assert finding.message == "data sets that the release does not describe: ['mnist']"


@pytest.mark.parametrize("index", [-1, cells.SIZE, 2**31 - 1, -(2**31)])
def test_an_index_out_of_range(table, index):
    finding = only(validate(changed(table, 5, index=index)))
    assert (finding.kind, finding.severity, finding.indices) == ("cell", "error", (index,))


def test_what_cannot_be_read_is_a_finding(tmp_path, table):
    (tmp_path / "text.parquet").write_text("acc={}")
    (tmp_path / "folder").mkdir()
    write_table(pa.table({"dataset": ["cifar10"]}), tmp_path / "other.parquet")
    for source in (tmp_path / "absent", tmp_path / "text.parquet", tmp_path / "folder", tmp_path / "other.parquet"):
        finding = only(validate(source))
        assert (finding.kind, finding.severity) == ("unreadable", "error")
        assert str(source) in finding.message
    assert only(validate(table.replace_schema_metadata(None))).kind == "unreadable"
    assert only(validate(table.replace_schema_metadata({b"nasbench_robust": b"{"}))).kind == "unreadable"


def test_a_table_of_something_else_is_a_finding(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    assert only(validate(tmp_path / "other.parquet")).kind == "unreadable"


def test_a_column_more_is_no_finding(table):
    assert validate(table.append_column("remark", pa.array([None] * table.num_rows, pa.string()))) == []


def test_dictionary_encoded_columns_are_read_like_others(table):
    for name in ("dataset", "release", "failure"):
        assert validate(replaced(table, name, table.column(name).dictionary_encode())) == []


@pytest.mark.parametrize("name", ["index", "seed", "clean_acc", "clean_correct"])
def test_dictionary_encoded_numbers_are_read_like_others_or_a_finding(table, name):
    findings = validate(replaced(table, name, table.column(name).dictionary_encode()))
    assert {finding.kind for finding in findings} <= {"schema"}


def test_a_data_set_column_of_lists_is_a_finding(table):
    lists = pa.array([[name] for name in table.column("dataset").to_pylist()])
    assert "schema" in {finding.kind for finding in validate(table.set_column(1, "dataset", lists))}


def with_facts(table: pa.Table, path: tuple, value: object) -> pa.Table:
    facts = json.loads(table.schema.metadata[b"nasbench_robust"])
    *steps, last = path
    place = facts
    for step in steps:
        place = place[step]
    place[last] = value
    return table.replace_schema_metadata({b"nasbench_robust": json.dumps(facts)})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("datasets", "cifar10", "images"), []),
        (("datasets", "cifar10", "images"), None),
        (("datasets", "cifar10", "images"), {"test": "many"}),
        (("datasets", "cifar10", "images"), {"test": 10**400}),
        (("datasets", "cifar10", "images"), {}),
        (("metrics", 1, "attack", "eps"), 10**400),
        (("metrics", 0, "name"), []),
        (("datasets",), {}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_description_is_a_finding(table, path, value):
    assert errors(with_facts(table, path, value))


# ---------------------------------------------------------------------- findings and means


def test_a_finding_is_one_line_with_the_first_five_cells():
    finding = Finding("order", "warning", "odd", "cifar10", "pgd_acc", tuple(range(7)))
    assert str(finding) == "warning: order: cifar10/pgd_acc: odd [7 cell(s): 0, 1, 2, 3, 4, ...]"
    assert str(Finding("unreadable", "error", "gone")) == "error: unreadable: gone"
    assert str(Finding("cell", "error", "odd", indices=(5,))) == "error: cell: odd [1 cell(s): 5]"


@given(st.lists(st.tuples(st.integers(0, cells.SIZE - 1), st.floats(0, 1)), max_size=30))
def test_means_by_index_equal_the_mean_of_each_cells_values(pairs):
    index = np.array([index for index, _ in pairs], np.int64)
    mean, number = mean_by_index(index, np.array([value for _, value in pairs], np.float64))
    assert mean.shape == number.shape == (cells.SIZE,)
    for cell in {index for index, _ in pairs}:
        values = [value for index, value in pairs if index == cell]
        assert number[cell] == len(values)
        assert mean[cell] == pytest.approx(math.fsum(values) / len(values), abs=1e-12)
    assert np.isnan(mean).sum() == cells.SIZE - len(set(index.tolist()))


# ---------------------------------------------------------------------- arbitrary damage

TINY = ReleaseInfo(
    name="tiny",
    version="1",
    title="a few cells",
    licence="CC0",
    citation="@misc{tiny}",
    source="invented",
    datasets={"digits": DatasetInfo({"test": 517}, 0.1, Skeleton.for_dataset("digits"))},
    metrics=(Metric("clean_acc"), Metric.of(fgsm(0.1)), Metric.of(pgd(0.1))),
)


def tiny_row(index: int, seed: int | None, **more: object) -> dict:
    facts = {"dataset": "digits", "index": index, "seed": seed, "seeds": 1, "test_images": 517} | more
    facts.setdefault("clean_correct", 100)
    if facts["clean_correct"] is not None:
        facts.setdefault("clean_acc", facts["clean_correct"] / (517 * facts["seeds"]))
    return facts


HELD_OUT = dataclasses.replace(
    TINY,
    datasets={"digits": DatasetInfo({"test": 517, "validation": 256}, 0.1, Skeleton.for_dataset("digits"))},
    metrics=(*TINY.metrics, Metric("clean_acc", split="validation"), Metric.of(pgd(0.1), "validation")),
)


def validation_row(correct: int, images: int) -> dict:
    return tiny_row(CELL, 1, **{"clean_acc#validation": correct / images, "clean_correct#validation": correct})


SOUND = runs_table(TINY, [tiny_row(index, seed) for index in (0, 1, 9, CELL, 9930) for seed in (1, 2)])

FLOATS = st.none() | st.floats() | st.sampled_from([0.5, 100 / 517, 1e308, -0.0])
VALUES = {
    "dataset": st.sampled_from(["digits", "cifar10", "", "\u0664"]) | st.none(),
    "index": st.sampled_from([0, 1, 9, MEMBER, DISCONNECTED, cells.SIZE, -1])
    | st.integers(-(2**31), 2**31 - 1)
    | st.none(),
    "seed": st.integers(-(2**31), 2**31 - 1) | st.integers(0, 3) | st.none(),
    "seeds": st.integers(-(2**15), 2**15 - 1) | st.none(),
    "test_images": st.integers(-(2**31), 2**31 - 1) | st.none(),
    "clean_acc": FLOATS,
    "pgd_acc@0.1": FLOATS,
    "clean_correct": st.integers(-(2**31), 2**31 - 1) | st.none(),
    "failure": st.text(max_size=3) | st.none(),
}
TYPES = st.sampled_from([pa.string(), pa.int64(), pa.float32(), pa.float64(), pa.null(), pa.bool_()])


def replaced(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)


def single_columns(table: pa.Table) -> list[str]:
    return [name for name in table.schema.names if table.schema.names.count(name) == 1]


@st.composite
def other_values(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    name = draw(st.sampled_from(sorted(VALUES)))
    if name not in single_columns(table) or not table.num_rows:
        return table
    values = table.column(name).to_pylist()
    for row in draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=4)):
        values[row] = draw(VALUES[name])
    try:
        return replaced(table, name, pa.array(values, SOUND.schema.field(name).type))
    except pa.ArrowException:  # another type was put there before
        return table


@st.composite
def other_rows(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    rows = draw(st.lists(st.integers(0, table.num_rows - 1), max_size=15)) if table.num_rows else []
    return table.take(pa.array(rows, pa.int64()))


@st.composite
def another_type(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    name = draw(st.sampled_from(single_columns(table)))
    kind = draw(st.sampled_from(["dictionary", "lists", "nulls"]))
    if kind == "lists" or pa.types.is_nested(table.schema.field(name).type):
        return replaced(table, name, pa.array([["digits"]] * table.num_rows, pa.list_(pa.string())))
    if kind == "dictionary":
        return replaced(table, name, table.column(name).combine_chunks().dictionary_encode())
    return replaced(table, name, pa.nulls(table.num_rows, draw(TYPES)))


@st.composite
def other_columns(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    name = draw(st.sampled_from(single_columns(table)))
    if draw(st.booleans()):
        return table.append_column(name, table.column(name))
    return table.drop_columns([name])


@st.composite
def another_description(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    path = draw(
        st.sampled_from(
            [
                ("name",),
                ("datasets",),
                ("datasets", "digits"),
                ("datasets", "digits", "images"),
                ("datasets", "digits", "images", "test"),
                ("datasets", "digits", "eps"),
                ("datasets", "digits", "skeleton"),
                ("datasets", "digits", "skeleton", "classes"),
                ("metrics",),
                ("metrics", 0),
                ("metrics", 0, "split"),
                ("metrics", 2, "attack"),
                ("metrics", 2, "attack", "eps"),
                ("metrics", 2, "attack", "steps"),
            ]
        )
    )
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    scalars |= st.text(max_size=3) | st.just(10**400)
    keys = st.sampled_from(["test", "name", "eps"])
    trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner))
    return with_facts(SOUND, path, draw(trees))


Damage = Callable[[pa.Table], st.SearchStrategy[pa.Table]]


def damaged(kinds: list[Damage]) -> st.SearchStrategy[pa.Table]:
    return st.lists(st.sampled_from(kinds), min_size=1, max_size=3).flatmap(
        lambda chosen: _apply(st.just(SOUND), chosen)
    )


def _apply(tables: st.SearchStrategy[pa.Table], kinds: list[Damage]) -> st.SearchStrategy[pa.Table]:
    for kind in kinds:
        tables = tables.flatmap(kind)
    return tables


def test_the_table_to_be_damaged_is_sound():
    assert errors(SOUND) == []


def check_findings(findings: list[Finding]) -> None:
    assert all(isinstance(finding, Finding) for finding in findings)
    assert all(finding.severity in ("error", "warning") for finding in findings)
    assert all("\n" not in str(finding) for finding in findings)


@settings(deadline=None, max_examples=150)
@given(damaged([other_values, other_rows]))
def test_other_values_and_rows_never_make_it_raise(table):
    check_findings(validate(table))


@settings(deadline=None, max_examples=150)
@given(damaged([other_values, other_rows]))
def test_a_table_without_errors_can_be_queried(table):
    if errors(table):
        return
    bench = Benchmark(table)
    assert len(bench.frame()) == 6_466
    assert set(bench.datasets) == {"digits"}


@settings(deadline=None, max_examples=150)
@given(damaged([other_values, other_rows, another_type, other_columns]))
def test_other_types_and_columns_never_make_it_raise(table):
    check_findings(validate(table))


@settings(deadline=None, max_examples=150)
@given(damaged([another_description]))
def test_other_descriptions_never_make_it_raise(table):
    check_findings(validate(table))

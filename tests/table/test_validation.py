"""Every kind of finding from a table broken on purpose, none from a sound one, and never an exception."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_tables import SMALL, counted, described, run

import nasbench_robust as nbr
from nasbench_robust import cells
from nasbench_robust.errors import TableError
from nasbench_robust.metrics import Attack, Metric, fgsm, pgd
from nasbench_robust.releases.importers import import_standard_file
from nasbench_robust.table import Benchmark, Finding, Reader, read_table, runs_table, validate, write_table

CELL = 1000  # a connected representative
DISCONNECTED = 10
MEMBER = int(np.flatnonzero(cells.representatives() != np.arange(cells.SIZE))[0])
OF_TEN_THOUSAND, OF_HUNDRED = {"test": 10_000}, {"validation": 100}


def replaced(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)


@pytest.fixture(scope="module")
def table(made_up_table) -> pa.Table:
    """The made-up release in memory, data set names as plain strings."""
    read = read_table(made_up_table)
    return replaced(read, "dataset", read.column("dataset").cast("string"))


def errors(source: object) -> list[Finding]:
    return [finding for finding in validate(source) if finding.severity == "error"]


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [str(finding) for finding in findings]
    return findings[0]


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
    here = pa.array(np.arange(table.num_rows) == row)
    for name, value in values.items():
        column = table.column(name)
        table = replaced(table, name, pc.if_else(here, pa.scalar(value, column.type), column))
    return table


def means(clean: int) -> dict[str, float]:
    return counted({"clean_acc": clean}, OF_TEN_THOUSAND, 3)


def validation_run(**correct: int) -> dict:
    return run(CELL, 1, **counted({f"{name}#validation": count for name, count in correct.items()}, OF_HUNDRED))


# ---------------------------------------------------------------------- sound tables

FEW = runs_table(SMALL, [run(index, seed, 100) for index in (0, 1, 9, CELL, 9930) for seed in (1, 2)])


def test_the_made_up_table_is_sound_in_every_form(table, made_up_table, tmp_path):
    assert validate(table) == validate(made_up_table) == validate(str(made_up_table)) == []
    for number, start in enumerate(range(0, table.num_rows, 10_000)):
        write_table(table.slice(start, 10_000), tmp_path / f"{number}.parquet")
    assert validate(tmp_path) == errors(FEW) == []
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


# ---------------------------------------------------------------------- one row of a sound table changed

OUTSIDE = "error: range: cifar10/clean_acc: an accuracy outside [0, 1], for example "
OFF_GRID = "error: grid: cifar10/clean_acc: the accuracy is not the count of correct images over images x seeds"
OTHER_SIZE = "error: images: cifar10: test_images differs from the release's 10000"
# The row, by cell and number of seeds; its new values; the finding; other kinds of findings that come with it.
CHANGES = [
    *((CELL, 3, {"clean_acc": value}, OFF_GRID, {"order"}) for value in (0.25, 0.123456789)),
    *((CELL, 3, {"clean_acc": value}, f"{OUTSIDE}{value}", {"grid"}) for value in (math.inf, -math.inf, 1.1, 1e308)),
    (CELL, 3, {"clean_acc": -0.1}, f"{OUTSIDE}-0.1", {"grid", "order"}),
    (CELL, 3, {"clean_acc": math.nan}, "error: range: clean_acc: NaN stored as an accuracy", {"missing", "grid"}),
    (CELL, 3, {"clean_acc": None}, "error: grid: cifar10/clean_acc: a count without an accuracy", {"missing"}),
    (CELL, 3, {"clean_acc": None}, "warning: missing: cifar10/clean_acc: cells without this metric", {"grid"}),
    (
        *(CELL, 3, {"clean_correct": None}),
        *("error: grid: cifar10/clean_acc: no count: the accuracy is not on the grid k / (images x seeds)", set()),
    ),
    *((CELL, 3, {"test_images": number}, OTHER_SIZE, set()) for number in (9_999, -1)),
    *((CELL, 3, {"seeds": number}, "error: images: cifar10: seeds is less than 1", {"grid"}) for number in (0, -3)),
    (CELL, 3, {"seed": 7}, "error: images: cifar10: a row of one seed says that it stands for several", set()),
    (
        *(CELL, 3, {"index": MEMBER}),
        *("error: alias: cifar10: results under an index that is not its class's representative", {"missing"}),
    ),
    *(
        (CELL, 3, {"index": index}, "error: cell: an index outside 0..15624", set())
        for index in (-1, cells.SIZE, 2**31 - 1, -(2**31))
    ),
    (
        *(DISCONNECTED, 3, means(6_000)),
        *("error: chance: cifar10/clean_acc: a disconnected cell is not at chance, 0.1000", set()),
    ),
]


def test_an_accuracy_is_on_its_grid_but_for_rounding(table):
    row = row_of(table, CELL, 3)
    correct = table.column("clean_correct")[row].as_py()
    for images, is_error in ((0.005, False), (0.02, True), (0.4, True)):
        found = errors(changed(table, row, clean_acc=(correct + images) / 30_000))
        assert [finding.kind for finding in found] == ["grid"] * is_error


@pytest.mark.parametrize(("index", "seeds", "values", "expected", "beside"), CHANGES)
def test_a_changed_row(table, index, seeds, values, expected, beside):
    findings = validate(changed(table, row_of(table, index, seeds), **values))
    kind = expected.split(": ")[1]
    finding = only([finding for finding in findings if finding.kind == kind])
    assert str(finding) == f"{expected} [1 cell(s): {values.get('index', index)}]"
    assert {finding.kind for finding in findings} - {kind} == beside


def test_a_placeholder(table):
    values = counted({"autoattack_acc@8/255": 5_000}, OF_TEN_THOUSAND)
    findings = errors(changed(table, row_of(table, CELL, 1), **values))
    assert {(finding.kind, finding.dataset, finding.metric, finding.indices) for finding in findings} == {
        ("placeholder", "cifar10", "autoattack_acc@8/255", (CELL,))
    }
    assert "exactly 0.5, above a weaker attack: a placeholder, by up to" in findings[0].message


@pytest.mark.parametrize(
    ("lower", "upper", "seeds", "more", "severity"),
    [
        ("pgd_acc@8/255", "fgsm_acc@8/255", 3, 20, "warning"),
        ("pgd_acc@8/255", "fgsm_acc@8/255", 3, 50, "error"),
        ("pgd_acc@3/255", "fgsm_acc@3/255", 3, 50, "error"),
        ("fgsm_acc@8/255", "fgsm_acc@3/255", 3, 50, "error"),
        ("pgd_acc@8/255", "pgd_acc@3/255", 3, 50, "error"),
        ("fgsm_acc@3/255", "clean_acc", 3, 50, "error"),
        ("autoattack_acc@8/255", "pgd_acc@8/255", 1, 50, "error"),
    ],
)
def test_a_stronger_attack_that_leaves_more_images_right(table, lower, upper, seeds, more, severity):
    limit = math.ceil(table.column(upper)[row_of(table, CELL, 3)].as_py() * 10_000)
    values = counted({lower: (limit + more) * seeds}, OF_TEN_THOUSAND, seeds)
    findings = validate(changed(table, row_of(table, CELL, seeds), **values))
    assert {finding.kind for finding in findings} == {"order"}
    finding = next(finding for finding in findings if finding.severity == severity)
    assert str(finding).startswith(f"{severity}: order: cifar10/{lower}: {lower} > {upper}, by up to 0.00{more // 10}")
    assert finding.indices == (CELL,)


def test_a_cell_twice(table):
    findings = errors(pa.concat_tables([table, table.slice(row_of(table, CELL, 3), 1)]))
    measured = [metric.column for metric in Reader(table).info().metrics if metric.name != "autoattack_acc"]
    assert [(finding.kind, finding.dataset, finding.metric, finding.indices) for finding in findings] == [
        ("doubled", "cifar10", column, (CELL,)) for column in measured
    ]


@pytest.mark.parametrize(
    ("dataset", "gone", "expected"),
    [
        ("cifar100", (1, 3), "warning: missing: cifar100: 1 of 6466 representatives have no row"),
        ("cifar10", (1,), "warning: missing: cifar10/autoattack_acc@8/255: cells without this metric"),
    ],
)
def test_a_missing_row(table, dataset, gone, expected):
    rows = [row_of(table, CELL, seeds, dataset) for seeds in gone]
    finding = only(validate(table.filter(pa.array(~np.isin(np.arange(table.num_rows), rows)))))
    assert str(finding) == f"{expected} [1 cell(s): {CELL}]"


def test_a_metric_that_was_not_measured_on_a_data_set_at_all_is_no_finding(table):
    elsewhere = pc.not_equal(table.column("dataset"), "cifar100")
    for name in ("autoattack_acc@8/255", "autoattack_correct@8/255"):
        table = replaced(table, name, pc.if_else(elsewhere, table.column(name), None))
    assert validate(table) == []


def test_a_connected_cell_at_exact_chance_is_a_warning(table):
    for seeds in (1, 3):
        row = row_of(table, CELL, seeds)
        columns = [
            metric.column for metric in Reader(table).info().metrics if table.column(metric.column)[row].is_valid
        ]
        table = changed(table, row, **counted(dict.fromkeys(columns, 1_000 * seeds), OF_TEN_THOUSAND, seeds))
    finding = only(validate(table))
    assert (finding.kind, finding.severity, finding.indices) == ("chance", "warning", (CELL,))


# ---------------------------------------------------------------------- rows of single seeds

FAILED = {"failure": "out of memory"}
DOUBLED = "error: doubled: digits/clean_acc: several results for one cell and seed [1 cell(s): 1000]"
FAILURE = "warning: failure: digits: failed runs [1 cell(s): 1000]"
AT_VALIDATION = "order: digits/pgd_acc@0.1#validation: pgd_acc@0.1#validation > clean_acc#validation, by up to"
ROWS = {
    "a cell twice with one seed": ([run(CELL, seed, 100) for seed in (1, 2, 2)], [DOUBLED]),
    "a failure beside a result of its seed": ([run(CELL, 1, 100), run(CELL, 1, **FAILED)], [DOUBLED, FAILURE]),
    "a mean beside single seeds": ([run(CELL, 1, 100), run(CELL, None, 300, seeds=3)], [DOUBLED]),
    "a negative seed": ([run(CELL, -7, 100)], ["error: images: digits: seed is negative [1 cell(s): 1000]"]),
    "a failure with a number": (
        [run(CELL, 1, 100), run(CELL, 2, 100, **FAILED)],
        ["error: failure: digits/clean_acc: a failed run carries a number [1 cell(s): 1000]", FAILURE],
    ),
    "a failure": ([run(CELL, 1, 100), run(0, 1, 100), run(CELL, 2, **FAILED)], [FAILURE]),
    "a failure without a reason": ([run(CELL, 1, 100), run(0, 1, 100), run(CELL, 2, failure="")], [FAILURE]),
    "a cell with failed runs alone": (
        [run(0, 1, 100), run(CELL, 1, **FAILED), run(CELL, 2, **FAILED)],
        [FAILURE],
    ),
    "two reasons for one failed run": (
        [run(0, 1, 100), run(CELL, 1, **FAILED), run(CELL, 1, failure="lost")],
        [
            f"error: doubled: digits/{name}: several results for one cell and seed [1 cell(s): 1000]"
            for name in [metric.column for metric in SMALL.metrics]
        ]
        + [FAILURE],
    ),
    "counts of a split": ([validation_run(clean_acc=40)], []),
    "counts of a split over other images": (
        [validation_run(clean_acc=40) | {"clean_acc#validation": 40 / 517}],
        [f"{OFF_GRID.replace('cifar10/clean_acc', 'digits/clean_acc#validation')} [1 cell(s): 1000]"],
    ),
    # some images of a small split are no error in the order of attacks
    "ten images of a hundred": (
        [validation_run(**{"clean_acc": 60, "pgd_acc@0.1": 70})],
        [f"warning: {AT_VALIDATION} 0.1000 [1 cell(s): 1000]"],
    ),
    "eleven images of a hundred": (
        [validation_run(**{"clean_acc": 60, "pgd_acc@0.1": 71})],
        [f"error: {AT_VALIDATION} 0.1100 [1 cell(s): 1000]"],
    ),
}


@pytest.mark.parametrize(("rows", "expected"), ROWS.values(), ids=ROWS)
def test_rows_of_single_seeds(rows, expected):
    told = [str(finding) for finding in validate(runs_table(SMALL, rows))]
    assert [line for line in told if "representatives have no row" not in line] == expected


@pytest.mark.parametrize(
    ("attacks", "severity"),
    [((Attack("fgsm", 0.1), Attack("pgd", 0.1)), "warning"), ((fgsm(0.1), pgd(0.1)), "error")],
    ids=["unknown settings", "known settings"],
)
def test_attacks_without_settings_are_not_out_of_order_for_certain(attacks, severity):
    info = replace(SMALL, metrics=(Metric("clean_acc"), *map(Metric.of, attacks)))
    row = run(CELL, 1, 300, 200, **counted({"fgsm_acc@0.1": 100}, {"test": 517}))
    finding = only([finding for finding in validate(runs_table(info, [row])) if finding.kind == "order"])
    assert (finding.severity, finding.metric, finding.indices) == (severity, "pgd_acc@0.1", (CELL,))


def test_a_split_without_a_stated_size():
    unstated = replace(SMALL, datasets={"digits": replace(SMALL.datasets["digits"], images={"test": 517})})
    table = runs_table(unstated, [validation_run(clean_acc=40)])
    finding = only(errors(table))
    assert (finding.kind, finding.metric, finding.indices) == ("images", "clean_acc#validation", (CELL,))
    assert finding.message == "the release does not say how many images the validation split has"
    bench = Benchmark(table)
    for question in (lambda: bench.lookup(CELL, metric="clean_acc", split="validation"), bench.metrics):
        with pytest.raises(TableError, match="how many images the validation split of digits has; run validate"):
            question()
    assert errors(runs_table(unstated, [run(CELL, 1, 100)])) == []  # named, and not measured


# ---------------------------------------------------------------------- schema, descriptions, files


REQUIRED = ("release", "dataset", "index", "seeds", "test_images")
WRONG_TYPES = {
    **{("index", pa.int64()): "int64, expected int32", ("index", pa.string()): "string, expected int32"},
    **{("clean_acc", pa.float32()): "float, expected double", ("clean_acc", pa.string()): "string, expected double"},
    **{("seeds", pa.float64()): "double, expected int16", ("dataset", pa.binary()): "binary, expected string"},
}


@pytest.mark.parametrize(
    ("name", "broken", "expected"),
    [
        *((name, None, f"no column {name!r}") for name in (*REQUIRED, "clean_acc", "clean_correct", "failure", "date")),
        *((name, type_, f"column {name!r} is {wrong}") for (name, type_), wrong in WRONG_TYPES.items()),
        *((name, "null", f"column {name!r} has nulls") for name in REQUIRED),
        ("dataset", "mnist", "data sets that the release does not describe: ['mnist']"),
    ],
)
def test_a_wrong_column(table, name, broken, expected):
    if broken is None:
        table = table.drop_columns([name])
    elif isinstance(broken, pa.DataType):
        table = replaced(table, name, table.column(name).cast(broken))
    else:
        table = changed(table, table.num_rows - 1, **{name: None if broken == "null" else broken})
    found = [str(finding) for finding in validate(table)]
    assert found[0] == f"error: schema: {expected}"
    assert name == "dataset" or len(found) == 1  # names that are null or in bytes are also those of strangers


@pytest.mark.parametrize("path", [("datasets",), ("datasets", "digits", "images")])
def test_a_description_that_leaves_out_what_was_measured(path):
    assert errors(FEW.replace_schema_metadata({b"nasbench_robust": described({path: {}})}))


def test_what_cannot_be_read_is_a_finding(tmp_path, table):
    (tmp_path / "text.parquet").write_text("acc={}")
    (tmp_path / "folder").mkdir()
    write_table(pa.table({"dataset": ["cifar10"]}), tmp_path / "other.parquet")
    for name in ("absent", "text.parquet", "folder", "other.parquet"):
        finding = only(validate(tmp_path / name))
        assert (finding.kind, finding.severity) == ("unreadable", "error")
        assert str(tmp_path / name) in finding.message
    for metadata in (None, {b"nasbench_robust": b"{"}):
        assert only(validate(table.replace_schema_metadata(metadata))).kind == "unreadable"


def test_a_column_more_is_no_finding(table):
    assert validate(table.append_column("remark", pa.nulls(table.num_rows, pa.string()))) == []


def test_dictionary_encoded_columns_are_read_like_others_and_numbers_may_be_a_finding(table):
    for name in ("dataset", "release", "failure"):
        assert validate(replaced(table, name, table.column(name).dictionary_encode())) == []
    for name in ("index", "seed", "clean_acc", "clean_correct"):
        findings = validate(replaced(table, name, table.column(name).dictionary_encode()))
        assert {finding.kind for finding in findings} <= {"schema"}


def test_a_data_set_column_of_lists_is_a_finding(table):
    lists = pa.array([[name] for name in table.column("dataset").to_pylist()])
    assert "schema" in {finding.kind for finding in validate(replaced(table, "dataset", lists))}


def test_a_finding_is_one_line_with_the_first_five_cells():
    finding = Finding("order", "warning", "odd", "cifar10", "pgd_acc", tuple(range(7)))
    assert str(finding) == "warning: order: cifar10/pgd_acc: odd [7 cell(s): 0, 1, 2, 3, 4, ...]"
    assert str(Finding("unreadable", "error", "gone")) == "error: unreadable: gone"
    assert str(Finding("cell", "error", "odd", indices=(5,))) == "error: cell: odd [1 cell(s): 5]"


# ---------------------------------------------------------------------- arbitrary damage

FLOATS = st.none() | st.floats() | st.sampled_from([0.5, 100 / 517, 1e308, -0.0])
SHORTS, INTEGERS = (st.integers(-(2**bits), 2**bits - 1) | st.none() for bits in (15, 31))
VALUES = {
    "dataset": st.sampled_from(["digits", "cifar10", "", "\u0664"]) | st.none(),
    "index": st.sampled_from([0, 1, 9, MEMBER, DISCONNECTED, cells.SIZE, -1]) | INTEGERS,
    "seed": INTEGERS | st.integers(0, 3),
    "seeds": SHORTS,
    "test_images": INTEGERS,
    "clean_acc": FLOATS,
    "pgd_acc@0.1": FLOATS,
    "clean_correct": INTEGERS,
    "failure": st.text(max_size=3) | st.none(),
}
TYPES = st.sampled_from([pa.string(), pa.int64(), pa.float32(), pa.float64(), pa.null(), pa.bool_()])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS |= st.text(max_size=3) | st.just(10**400)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["test", "name", "eps"]), inner),
)


def single_columns(table):
    return [name for name in table.schema.names if table.schema.names.count(name) == 1]


def other_values(draw, table):
    name = draw(st.sampled_from(sorted(VALUES)))
    if name not in single_columns(table) or not table.num_rows:
        return table
    values = table.column(name).to_pylist()
    for row in draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=4)):
        values[row] = draw(VALUES[name])
    try:
        return replaced(table, name, pa.array(values, FEW.schema.field(name).type))
    except pa.ArrowException:  # another type was put there before
        return table


def other_rows(draw, table):
    rows = draw(st.lists(st.integers(0, table.num_rows - 1), max_size=15)) if table.num_rows else []
    return table.take(pa.array(rows, pa.int64()))


def another_type(draw, table):
    name = draw(st.sampled_from(single_columns(table)))
    kind = draw(st.sampled_from(["dictionary", "lists", "nulls"]))
    if kind == "lists" or pa.types.is_nested(table.schema.field(name).type):
        return replaced(table, name, pa.array([["digits"]] * table.num_rows, pa.list_(pa.string())))
    if kind == "dictionary":
        return replaced(table, name, table.column(name).combine_chunks().dictionary_encode())
    return replaced(table, name, pa.nulls(table.num_rows, draw(TYPES)))


def other_columns(draw, table):
    name = draw(st.sampled_from(single_columns(table)))
    return table.append_column(name, table.column(name)) if draw(st.booleans()) else table.drop_columns([name])


def another_description(draw, table):
    place = facts = json.loads(SMALL.to_json())
    while True:
        key = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], (dict, list)) or not place[key] or draw(st.booleans()):
            place[key] = draw(TREES)
            return table.replace_schema_metadata({b"nasbench_robust": json.dumps(facts)})
        place = place[key]


VALUES_AND_ROWS = (other_values, other_rows)


@pytest.mark.parametrize(
    "kinds",
    [VALUES_AND_ROWS, (*VALUES_AND_ROWS, another_type, other_columns), (another_description,)],
    ids=["values and rows", "types and columns", "descriptions"],
)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_damaged_table_never_makes_it_raise_and_without_errors_it_can_be_queried(kinds, data):
    table = FEW
    for damage in data.draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
        table = damage(data.draw, table)
    findings = validate(table)
    assert {finding.severity for finding in findings} <= {"error", "warning"}
    assert all(isinstance(finding, Finding) and "\n" not in str(finding) for finding in findings)
    if kinds is VALUES_AND_ROWS and "error" not in {finding.severity for finding in findings}:
        bench = Benchmark(table)
        assert len(bench.frame()) == 6_466
        assert set(bench.datasets) == {"digits"}

"""Foreign files: published numbers to the last bit, the per-seed format, and files that are not as they should be."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import re

import numpy as np
import pytest
from conftest import PAGE_FIELDS, PAGE_METRICS, in_page, read_page, write_page
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nasbench_robust import cells
from nasbench_robust.errors import MissingDataError, MissingResultError, NasbenchRobustError, SourceFormatError
from nasbench_robust.releases import IMPORTERS
from nasbench_robust.releases.importers import import_page_file, import_seed_file, import_standard_file
from nasbench_robust.table import Benchmark, validate

ALIAS = cells.Cell.from_index(0).members[1]  # a cell whose representative is 0


# ---------------------------------------------------------------------- the published page file


@pytest.mark.parametrize("metric", PAGE_METRICS)
def test_autoattack_is_one_seed_and_everything_else_the_mean_of_three(published, metric):
    for dataset in published.datasets:
        for index in (0, 1, 1000, 9930, 15_624):
            result = published.lookup(index, dataset, PAGE_METRICS[metric])
            assert result.n_seeds == (1 if metric == "autoattack" else 3)
            assert (result.seeds, result.std) == ({}, None)
            assert abs(result.correct - result.value * result.test_images * result.n_seeds) < 0.01


def test_every_published_value_has_its_count_of_images(published_file):
    table = import_page_file(published_file)
    for metric in PAGE_METRICS.values():
        count = metric.replace("_acc", "_correct")
        assert table.column(metric).null_count == table.column(count).null_count == table.num_rows // 2


def test_the_files_name_and_hash_are_the_source(published, published_file):
    digest = hashlib.sha256(published_file.read_bytes()).hexdigest()
    assert published.info.source.endswith(f"(NAS-RobBench-201_html.json, SHA-256 {digest})")
    assert (digest[:8], digest[-6:]) == ("b3dc99b9", "4f2388")


GOLDEN = {  # as they are printed, in the order of PAGE_METRICS
    (9930, "cifar10"): ".79557 .6971 .69243 .53343 .47793 .4438",
    (9930, "cifar100"): ".50463 .40453 .4011 .26997 .24407 .2093",
    (9930, "imagenet"): ".16039 .12506 .12483 .08028 .07361 .04333",
    (2581, "cifar10"): ".7937 .6955 .6893 .5351 .48113 .4434",
    (13714, "cifar100"): ".50053 .40343 .40023 .2709 .24667 .206",
    (1000, "cifar10"): ".76837 .6716 .6663 .5112 .46283 .4260",
    (1462, "cifar10"): ".7706 .6764 .6707 .5248 .4737 .4348",
    (1835, "cifar10"): ".3324 .2857 .2853 .2148 .2125 .1609",
}


@pytest.mark.parametrize(("index", "dataset"), GOLDEN)
def test_golden_values(published, index, dataset):
    for metric, printed in zip(PAGE_METRICS.values(), GOLDEN[index, dataset].split(), strict=True):
        value = published.query(index, dataset, metric)
        assert abs(value - float(printed)) <= 0.5 * 10 ** -(len(printed) - 1) + 1e-7


# ---------------------------------------------------------------------- the standard-training file

STANDARD_METRICS = {
    **{"clean": "clean_acc", "aa_apgd-ce": "apgd_ce_acc@1/255", "aa_square": "square_acc@1/255"},
    **{"fgsm": "fgsm_acc@1/255", "pgd": "pgd_acc@1/255", "corr": "corruption_acc"},
}


def test_all_standard_values_are_kept_to_the_last_bit_as_one_rounded_training(standard_file):
    standard, content = Benchmark(import_standard_file(standard_file)), read_page(standard_file)
    assert len(content[""]) == 17
    for field in content[""]:
        dataset, metric = field.split("#")
        values = standard.query_many(range(cells.SIZE), dataset, STANDARD_METRICS[metric])
        assert np.array_equal(values, in_page(content, field))
    result = standard.lookup(9930, "cifar10", "pgd_acc")
    assert (result.n_seeds, result.correct, result.metric) == (1, None, "pgd_acc@1/255")
    with pytest.raises(MissingResultError, match="no corruption_acc"):
        standard.query(9930, "ImageNet16-120", "corruption_acc")


# ---------------------------------------------------------------------- the file with one value per seed

SEED_METRICS = {name.replace("_3_", "_3.0_").replace("_8_", "_8.0_"): ours for name, ours in PAGE_METRICS.items()}
LOSS = dict(zip(SEED_METRICS, (0, 0.05, 0.06, 0.15, 0.2), strict=False))  # what an attack costs in the made-up results


def seeded(by_seed: dict[int, float]) -> dict[str, float]:
    return {str(seed): value for seed, value in by_seed.items()} | {"threeseed": sum(by_seed.values()) / len(by_seed)}


def all_metrics(clean: dict[int, float]) -> dict[str, dict[str, float]]:
    return {name: seeded({seed: round(acc - loss, 4) for seed, acc in clean.items()}) for name, loss in LOSS.items()}


def seed_content() -> dict:
    """Return results of cells 1000 (three seeds), 9930 (one seed) and 0 (seeds 1 and 3; PGD at 8/255 only seed 3)."""
    content = {
        "cifar10": {
            "1000": all_metrics({1: 0.7, 2: 0.71, 3: 0.705}) | {"autoattack": 0.426},
            "9930": all_metrics({1: 0.79}) | {"autoattack": 0.4438},
            "0": all_metrics({1: 0.5, 3: 0.6}),
        },
        "imagenet": {"1000": {"val_acc": seeded({1: 0.125, 2: 0.126}), "autoattack": 0.04}},
    }
    # the first values are those that the real file has for this cell
    content["cifar10"]["1000"]["val_fgsm_3.0_acc"] = seeded({1: 0.6729999780654907, 2: 0.6708, 3: 0.6711})
    content["cifar10"]["1000"]["val_pgd_3.0_acc"] = seeded({1: 0.6680999994277954, 2: 0.6653, 3: 0.6655})
    content["cifar10"]["0"]["val_pgd_8.0_acc"] = {"3": 0.25}
    return content


def import_content(content: object, path):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return import_seed_file(path)


def test_single_seeds_are_kept_to_the_last_bit(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        table = import_content(seed_content(), tmp_path / "all.json")
    assert not caplog.records  # the means are right
    assert {finding.kind for finding in validate(table)} == {"missing"}
    seeds = Benchmark(table)
    assert (seeds.datasets, seeds.version) == (("cifar10", "ImageNet16-120"), "1-seeds")  # those with results
    for dataset, by_index in seed_content().items():
        for index, by_metric in by_index.items():
            for name, values in by_metric.items():
                result = seeds.lookup(int(index), dataset, SEED_METRICS[name])
                if isinstance(values, dict):
                    expected = {int(seed): value for seed, value in values.items() if seed != "threeseed"}
                    assert (result.seeds, result.n_seeds) == (expected, len(expected))
                else:
                    assert (result.seeds, result.n_seeds, result.value) == ({}, 1, values)
    # counts follow from the grid
    assert seeds.lookup(1000, "cifar10", "fgsm_acc@3/255", seed=1).correct == 6730
    assert seeds.lookup(1000, "cifar10", "clean_acc").correct == 7000 + 7100 + 7050
    assert seeds.lookup(1000, "imagenet", "clean_acc").correct == 750 + 756


def test_a_mean_that_is_not_the_mean_is_logged_and_the_seeds_are_kept(tmp_path, caplog):
    content = seed_content()
    content["cifar10"]["1000"]["val_acc"]["threeseed"] = 0.8
    with caplog.at_level(logging.WARNING):
        table = import_content(content, tmp_path / "all.json")
    assert [record.name for record in caplog.records] == ["nasbench_robust.releases.importers"]
    assert "'threeseed' is not the mean of the seeds in 1 places, first: cifar10, cell '1000', 'val_acc'" in caplog.text
    assert Benchmark(table).lookup(1000, "cifar10", "clean_acc").seeds == {1: 0.7, 2: 0.71, 3: 0.705}


@pytest.mark.parametrize(("difference", "is_logged"), [(5e-7, False), (2e-6, True), (-5e-3, True)])
def test_a_mean_may_be_rounded_and_no_more(difference, is_logged, tmp_path, caplog):
    content = seed_content()
    content["cifar10"]["1000"]["val_acc"]["threeseed"] += difference
    with caplog.at_level(logging.WARNING):
        import_content(content, tmp_path / "all.json")
    assert ("is not the mean of the seeds" in caplog.text) == is_logged


def of_cell(by_metric: object, cell: object = 1000) -> dict:
    return {"cifar10": {str(cell): by_metric}}


WRONG_SEED_FILES = [
    ({}, "holds no results"),
    ({"cifar10": {}}, "holds no results"),
    ([], "the file: expected an object, got a list"),
    ({"mnist": {}}, "key 'mnist': unknown data set, expected one of cifar10, cifar100, imagenet"),
    ({"cifar10": []}, "cifar10: expected an object, got a list"),
    (of_cell({}, 15_625), "cifar10, cell '15625': expected a cell index from 0 to 15624"),
    (of_cell({}, "01"), "cifar10, cell '01': expected a cell index"),
    (of_cell({"val_acc": {"1": 0.5}}, ALIAS), f"cell '{ALIAS}': has results of its own, but its representative is 0"),
    (of_cell(0.5), "cifar10, cell '1000': expected an object, got a number"),
    (of_cell({"acc": 0.5}), "cifar10, cell '1000': unknown metric 'acc'"),
    (of_cell({"val_fgsm_4.0_acc": {"1": 0.5}}), "unknown metric 'val_fgsm_4.0_acc'"),
    (of_cell({"val_acc": {"1": 1.5}}), "'val_acc', '1': expected an accuracy in [0, 1], got 1.5"),
    (of_cell({"val_acc": {"1": [0.5]}}), "'val_acc', '1': expected an accuracy in [0, 1], got a list"),
    (of_cell({"val_acc": {"one": 0.5}}), "'val_acc', 'one': expected a seed number or 'threeseed'"),
    (of_cell({"val_acc": {"-1": 0.5}}), "'val_acc', '-1': expected a seed number"),
    (of_cell({"val_acc": {"threeseed": 0.5}}), "'val_acc': a mean without the seeds behind it"),
    (of_cell({"val_acc": {"1": 0.5, "threeseed": "x"}}), "'threeseed': expected an accuracy"),
    (of_cell({"autoattack": True}), "'autoattack': expected an accuracy in [0, 1], got a boolean"),
    ('{"cifar10": {"0": {}, "0": {}}}', "key '0': stands twice"),
    ('{"cifar10": {"0": {"val_acc": {"1": 0.5, "1": 0.5}}}}', "key '1': stands twice"),
    # named twice in two spellings
    (of_cell({"val_acc": {"1": 0.5, "01": 0.6}}), "cifar10, cell '1000', 'val_acc', '01'"),
    (of_cell({"val_fgsm_3_acc": {"1": 0.5}, "val_fgsm_3.0_acc": {"1": 0.6}}), "the metric stands there twice"),
]


@pytest.mark.parametrize(("content", "message"), WRONG_SEED_FILES)
def test_a_wrong_per_seed_file_is_refused_with_the_place(content, message, tmp_path):
    path = tmp_path / "all.json"
    with pytest.raises(SourceFormatError, match=re.escape(message)) as caught:
        import_content(content, path)
    assert caught.value.path == str(path)


# ---------------------------------------------------------------------- files that are not what they should be

TRAINED = 1000  # a representative


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("foreign")


@pytest.fixture(scope="module")
def page(made_up_file) -> str:
    return made_up_file.read_text()


def refusal(text: str | bytes, folder, importer=import_page_file) -> SourceFormatError:
    """Import a file that must be refused and return the error, which must name the file."""
    path = folder / "page.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SourceFormatError) as caught:
        importer(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < len(str(path)) + 300
    return caught.value


def with_entry(page: str, content: dict, key: object, entry: str) -> str:
    """Put `entry`, JSON or not, in the place of a key's entry."""
    whole = f'"{key}": {json.dumps(content[str(key)])}'
    assert page.count(whole) == 1
    return page.replace(whole, f'"{key}": {entry}')


def with_value(page: str, content: dict, field: int, value: str) -> str:
    values = [json.dumps(number) for number in content[str(TRAINED)]]
    values[field] = value
    return with_entry(page, content, TRAINED, f"[{', '.join(values)}]")


def test_the_page_itself_is_read(page, folder, made_up_content):
    path = folder / "whole.json"
    other_aliases = [with_entry(page, made_up_content, ALIAS, zero) for zero in ("0", "-0")]
    for text in (page, page.replace("acc=", "\n var acc = ", 1) + " ;\n", page.removeprefix("acc="), *other_aliases):
        path.write_text(text)
        assert import_page_file(path).num_rows == 6_466 * 6


def test_a_page_cut_anywhere_is_refused(page, folder):
    rng = random.Random(0)
    offsets = {*range(60), *range(len(page) - 60, len(page)), *(rng.randrange(len(page)) for _ in range(150))}
    for offset in offsets:
        assert re.fullmatch(r"character \d+", refusal(page[:offset], folder).where)


def test_the_place_is_counted_from_the_beginning_of_the_file(page, folder):
    offset = page.index(f'"{TRAINED}"')
    for prefix in ("", "  \n"):
        error = refusal(prefix + page[:offset] + "@" + page[offset:], folder)
        assert error.where == f"character {len(prefix) + offset}"
    assert refusal(b'acc={"": ["\xff"]}', folder).where == "byte 11"


NO_ACCURACIES = {
    **{'"0.5"': "a string", "true": "a boolean", "null": "null", "[0.5]": "a list", '{"a": 0.5}': "an object"},
    **{"1" + "0" * 400: "1000", "-1": "-1", "2": "2", "1e400": "inf", "-1e400": "-inf"},
    **{"-0.1": "-0.1", "1.1": "1.1", "1.0000000000000002": "1.0000000000000002"},
}


@pytest.mark.parametrize(
    ("value", "field", "where", "problem"),
    [
        *(
            (value, field, f"key '{TRAINED}', field {field}", f"expected an accuracy in [0, 1], got {got}")
            for value, got in NO_ACCURACIES.items()
            for field in (0, 17)
        ),
        *((value, 3, "", f"holds {value}, which is no result") for value in ("NaN", "Infinity", "-Infinity")),
        # no parser takes these
        *((value, 3, "", "not a result file") for value in ("1" + "0" * 5000, "[" * 100_000, '{"a":' * 100_000)),
        *((value, 3, "character", "not JSON") for value in ("undefined", "'0.5'", "0x1", "")),
    ],
)
def test_a_value_that_is_no_accuracy_is_refused_with_its_place(
    page, made_up_content, folder, value, field, where, problem
):
    error = refusal(with_value(page, made_up_content, field, value), folder)
    assert error.where.startswith(where)
    assert problem in error.problem


@pytest.mark.parametrize(
    ("index", "entry", "problem"),
    [
        (ALIAS, "null", "expected a list of values or an index, got null"),
        (ALIAS, "true", "expected a list of values or an index, got a boolean"),
        (ALIAS, "0.0", "expected a list of values or an index, got a number"),
        (ALIAS, "{}", "expected a list of values or an index, got an object"),
        *((ALIAS, f'"{text}"', f"points at cell {text}, but its") for text in ("1000", "00", "0 ", "", ALIAS)),
        (ALIAS, f'"0{"x" * 10_000}"', "points at cell 0xxxxxxxxxxxxxxxxxxx, but its representative is 0"),
        (ALIAS, "1" + "0" * 400, "points at cell 10000000000000000000, but"),
        (ALIAS, json.dumps([0.1] * 18), "has results of its own, but its representative is 0"),
        (TRAINED, '"0"', f"points at cell 0, but its representative is {TRAINED}"),
        (TRAINED, f'"{TRAINED}"', f"points at cell {TRAINED}"),
        *((TRAINED, json.dumps([0.1] * n), f"expected 18 values, got {n}") for n in (0, 17, 19)),
        (0, f'"{ALIAS}"', f"points at cell {ALIAS}"),  # which points back
    ],
)
def test_a_wrong_entry_is_refused_with_its_key(page, made_up_content, folder, index, entry, problem):
    error = refusal(with_entry(page, made_up_content, index, entry), folder)
    assert error.where == f"key '{index}'"
    assert problem in error.problem


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        *((key, "stands twice") for key in ("", "0", str(ALIAS), "15624")),
        *(
            (key, "expected a cell index from 0 to 15624")
            for key in ("15625", "-1", "01", "1.0", " 1", "1 ", "x", "\u0661", "9" * 20)
        ),
    ],
)
def test_a_key_more_is_refused(page, folder, key, problem):
    error = refusal(f'{page[:-1]}, "{key}": "0"}}', folder)
    assert (error.where, error.problem) == (f"key {key!r}", problem)


@pytest.mark.parametrize("index", [0, ALIAS, 15_624])
def test_a_missing_cell_is_named(page, made_up_content, folder, index):
    whole = f', "{index}": {json.dumps(made_up_content[str(index)])}'
    error = refusal(page.replace(whole, ""), folder)
    assert f"expected all 15625 cells, got 15624; cell {index} is missing" in error.problem


@pytest.mark.parametrize(
    ("header", "where"),
    [
        *((header, "key ''") for header in (None, {}, [], "val_acc")),
        *(([*PAGE_FIELDS[:-1], name], "key ''") for name in (5, PAGE_FIELDS[0], "cifar10#val_fgsm_8.0_acc")),
        *(([*PAGE_FIELDS[:-1], name], f"field '{name}'") for name in ("cifar10", "mnist#val_acc", "cifar10#acc")),
        (PAGE_FIELDS[:-1], "key '0'"),
        ([*PAGE_FIELDS, "cifar10#val_pgd_4_acc"], "field 'cifar10#val_pgd_4_acc'"),
    ],
)
def test_a_wrong_header_is_refused(page, made_up_content, folder, header, where):
    assert refusal(with_entry(page, made_up_content, "", json.dumps(header)), folder).where == where


def test_a_page_without_a_header_is_refused(page, made_up_content, folder):
    headless = page.replace(f'"": {json.dumps(made_up_content[""])}, ', "")
    assert str(refusal(headless, folder)).endswith("key '': expected a list of field names")


def test_fields_in_another_order_are_read_by_their_names(made_up_content, folder):
    order = random.Random(0).sample(range(18), 18)
    shuffled = {
        key: [entry[position] for position in order] if isinstance(entry, list) else entry
        for key, entry in made_up_content.items()
    }
    bench = Benchmark(import_page_file(write_page(shuffled, folder / "shuffled.json")))
    for field in PAGE_FIELDS:
        dataset, metric = field.split("#")
        values = bench.query_many(range(cells.SIZE), dataset, PAGE_METRICS[metric])
        assert np.array_equal(values, in_page(made_up_content, field))


NO_PAGES = {
    **{"empty": b"", "white space": b" \n\t ", "only the name": b"acc=", "null": b"null", "a number": b"5"},
    **{"a list": b"acc=[]", "a string": b'"acc"', "an empty object": b"{}", "zeros": bytes(1000)},
    **{"not UTF-8": b'acc={"": ["\xff"]}', "UTF-16": 'acc={"": []}'.encode("utf-16")},
    **{"compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "a web page": b"<!DOCTYPE html><html></html>"},
    **{"brackets": b"acc=" + b"[" * 200_000, "braces": b'{"a":' * 200_000, "a lone surrogate": b'{"\\ud800": 1}'},
    **{"a long number": b"1" * 100_000, "a long name": b"x" * 100_000 + b"="},
}


@pytest.mark.parametrize("text", NO_PAGES.values(), ids=NO_PAGES)
@pytest.mark.parametrize("kind", IMPORTERS)
def test_a_file_of_another_kind_is_refused_by_every_importer(kind, text, folder):
    refusal(text, folder, IMPORTERS[kind])


def test_a_published_page_is_no_standard_file_and_no_per_seed_file(page, folder):
    for importer in (import_standard_file, import_seed_file):
        refusal(page, folder, importer)


@pytest.mark.parametrize("kind", IMPORTERS)
def test_what_is_not_there_is_missing_data_and_a_folder_is_no_file(kind, tmp_path):
    for path, error in ((tmp_path / "absent.json", MissingDataError), (tmp_path, NasbenchRobustError)):
        with pytest.raises(error, match=re.escape(str(path))):
            IMPORTERS[kind](path)


# ---------------------------------------------------------------------- arbitrary damage

PIECES = st.sampled_from(["", *' 019-.e",:[]{}\\\x00', "E9", "null", "true", "NaN"]) | st.text(max_size=5)


def read_or_refused(importer, text: str, path):
    """Return the table, or None where the text is refused; any other error is an error of the test too."""
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        return importer(path)
    except SourceFormatError as error:
        if error.path != str(path):
            raise
        return None


@settings(max_examples=40, deadline=None)
@given(data=st.data(), length=st.integers(0, 30), piece=PIECES)
def test_a_damaged_page_is_read_or_refused(page, folder, data, length, piece):
    start = data.draw(st.integers(0, len(page) - 1))
    table = read_or_refused(import_page_file, page[:start] + piece + page[start + length :], folder / "damaged.json")
    assert table is None or table.num_rows == 6_466 * 6


SEED_TEXT = json.dumps(seed_content())


def check_seed_text(text: str, folder) -> None:
    """A text is refused with `SourceFormatError`, or gives a table that can be queried and validated."""
    table = read_or_refused(import_seed_file, text, folder / "seeds.json")
    if table is not None:
        assert not {"schema", "unreadable", "range", "doubled"} & {finding.kind for finding in validate(table)}
        bench = Benchmark(table)
        assert len(bench.frame()) == 6_466 * len(bench.datasets)


@settings(deadline=None)
@given(start=st.integers(0, len(SEED_TEXT)), length=st.integers(0, 30), piece=PIECES)
@example(start=0, length=len(SEED_TEXT), piece='{"cifar10": {"0": {"val_acc": {}}}}')
def test_a_damaged_per_seed_file_is_read_or_refused(folder, start, length, piece):
    check_seed_text(SEED_TEXT[:start] + piece + SEED_TEXT[start + length :], folder)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.floats(0, 1) | st.text(max_size=4)
LEAVES |= st.just(10**400)
KEYS = st.text(max_size=3)
KEYS |= st.sampled_from(["cifar10", "imagenet", "0", "1000", "val_acc", "autoattack", "1", "2", "threeseed"])
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=10
)


@settings(deadline=None)
@given(tree=TREES, path=st.lists(st.integers(0, 4), max_size=5))
def test_any_tree_anywhere_in_a_per_seed_file_is_read_or_refused(folder, tree, path):
    whole = parent = {"": seed_content()}
    place = ""
    for step in path:
        if not isinstance(parent[place], dict):
            break
        parent, place = parent[place], list(parent[place])[step % len(parent[place])]
    parent[place] = tree
    check_seed_text(json.dumps(whole[""]), folder)

"""Foreign files: published numbers to the last bit, the per-seed format, and files that are not as they should be."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import PAGE_FIELDS, read_page, write_page
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nasbench_robust import cells
from nasbench_robust.errors import MissingDataError, MissingResultError, NasbenchRobustError, SourceFormatError
from nasbench_robust.releases import IMPORTERS
from nasbench_robust.releases.importers import import_page_file, import_seed_file, import_standard_file
from nasbench_robust.table import Benchmark, validate

DATASETS = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet": "ImageNet16-120"}
METRICS = {
    "val_acc": "clean_acc",
    "val_fgsm_3_acc": "fgsm_acc@3/255",
    "val_pgd_3_acc": "pgd_acc@3/255",
    "val_fgsm_8_acc": "fgsm_acc@8/255",
    "val_pgd_8_acc": "pgd_acc@8/255",
    "autoattack": "autoattack_acc@8/255",
}
STANDARD_METRICS = {
    "clean": "clean_acc",
    "aa_apgd-ce": "apgd_ce_acc@1/255",
    "aa_square": "square_acc@1/255",
    "fgsm": "fgsm_acc@1/255",
    "pgd": "pgd_acc@1/255",
    "corr": "corruption_acc",
}


def expanded(content: dict, field: str) -> np.ndarray:
    """Read one field for all 15,625 cells out of a page file's content."""
    position = content[""].index(field)
    entries = (content[str(index)] for index in range(cells.SIZE))
    return np.array([(entry if isinstance(entry, list) else content[str(entry)])[position] for entry in entries])


# ---------------------------------------------------------------------- the published page file


@pytest.fixture(scope="module")
def published_content(published_file: Path) -> dict:
    return read_page(published_file)


@pytest.mark.parametrize("field", PAGE_FIELDS)
def test_all_published_values_are_kept_to_the_last_bit(published, published_content, field):
    dataset, metric = field.split("#")
    expected = expanded(published_content, field)
    values = published.query_many(range(cells.SIZE), DATASETS[dataset], METRICS[metric])
    assert values.dtype == expected.dtype == np.float64
    assert np.array_equal(values, expected)


@pytest.mark.parametrize("field", PAGE_FIELDS)
def test_autoattack_is_one_seed_and_everything_else_the_mean_of_three(published, field):
    dataset, metric = field.split("#")
    for index in (0, 1, 1000, 9930, 15_624):
        result = published.lookup(index, DATASETS[dataset], METRICS[metric])
        assert result.n_seeds == (1 if metric == "autoattack" else 3)
        assert result.seeds == {}
        assert result.std is None
        trials = result.test_images * result.n_seeds
        assert abs(result.correct - result.value * trials) < 0.01


def test_every_published_value_has_its_count_of_images(published_file):
    table = import_page_file(published_file)
    for metric in METRICS.values():
        count = metric.replace("_acc", "_correct")
        assert table.column(metric).null_count == table.column(count).null_count == table.num_rows // 2


def test_the_files_name_and_hash_are_the_source(published, published_file):
    digest = hashlib.sha256(published_file.read_bytes()).hexdigest()
    assert published.info.source.endswith(f"(NAS-RobBench-201_html.json, SHA-256 {digest})")
    assert (digest[:8], digest[-6:]) == ("b3dc99b9", "4f2388")


GOLDEN_COLUMNS = ("val_acc", "val_fgsm_3_acc", "val_pgd_3_acc", "val_fgsm_8_acc", "val_pgd_8_acc", "autoattack")
GOLDEN = {
    (9930, "cifar10"): ".79557 .6971 .69243 .53343 .47793 .4438",
    (9930, "cifar100"): ".50463 .40453 .4011 .26997 .24407 .2093",
    (9930, "imagenet"): ".16039 .12506 .12483 .08028 .07361 .04333",
    (2581, "cifar10"): ".7937 .6955 .6893 .5351 .48113 .4434",
    (2581, "cifar100"): ".50243 .40583 .4024 .2714 .2463 .2033",
    (2581, "imagenet"): ".16156 .12378 .12322 .07944 .07361 .0445",
    (13714, "cifar10"): ".79477 .69733 .69103 .53167 .4773 .4428",
    (13714, "cifar100"): ".50053 .40343 .40023 .2709 .24667 .206",
    (13714, "imagenet"): ".15989 .12428 .12394 .07978 .07422 .04617",
    (1000, "cifar10"): ".76837 .6716 .6663 .5112 .46283 .4260",
    (1462, "cifar10"): ".7706 .6764 .6707 .5248 .4737 .4348",
    (1462, "imagenet"): ".110",
    (1835, "cifar10"): ".3324 .2857 .2853 .2148 .2125 .1609",
}
GOLDEN_CELLS = {9930: "333133", 2581: "323133", 13714: "333123", 1462: "333333", 1835: "111111"}


@pytest.mark.parametrize(("index", "dataset"), GOLDEN)
def test_golden_values(published, index, dataset):
    for metric, printed in zip(GOLDEN_COLUMNS, GOLDEN[index, dataset].split(), strict=False):
        value = published.query(index, DATASETS[dataset], METRICS[metric])
        assert abs(value - float(printed)) <= 0.5 * 10 ** -(len(printed) - 1) + 1e-7


@pytest.mark.parametrize(("index", "code"), GOLDEN_CELLS.items())
def test_golden_cells_are_the_ones_meant(index, code):
    assert cells.Cell.from_index(index).encode("opcodes") == code


@pytest.mark.parametrize("field", PAGE_FIELDS)
def test_every_columns_best_cell_is_one_of_four(published, field):
    dataset, metric = field.split("#")
    values = published.query_many(np.unique(cells.representatives()), DATASETS[dataset], METRICS[metric])
    best = np.unique(cells.representatives())[values == values.max()]
    assert {9930, 2581, 13714, 6111} & set(best.tolist())


@pytest.mark.parametrize(("metric", "median"), [("clean_acc", 0.706), ("pgd_acc", 0.428), ("autoattack_acc", 0.387)])
def test_medians_over_the_representatives(published, metric, median):
    values = published.query_many(np.unique(cells.representatives()), "cifar10", metric)
    assert round(float(np.median(values)), 3) == median


# ---------------------------------------------------------------------- the standard-training file


@pytest.fixture(scope="module")
def standard(standard_file: Path) -> Benchmark:
    return Benchmark(import_standard_file(standard_file))


def test_all_standard_values_are_kept_to_the_last_bit(standard, standard_file):
    content = read_page(standard_file)
    assert len(content[""]) == 17
    for field in content[""]:
        dataset, metric = field.split("#")
        values = standard.query_many(range(cells.SIZE), dataset, STANDARD_METRICS[metric])
        assert np.array_equal(values, expanded(content, field))


def test_standard_values_are_one_training_and_rounded(standard):
    result = standard.lookup(9930, "cifar10", "pgd_acc")
    assert (result.n_seeds, result.correct, result.metric) == (1, None, "pgd_acc@1/255")
    with pytest.raises(MissingResultError, match="no corruption_acc"):
        standard.query(9930, "ImageNet16-120", "corruption_acc")


# ---------------------------------------------------------------------- the file with one value per seed

LOSS = {  # what an attack costs in the made-up results
    "val_acc": 0,
    "val_fgsm_3.0_acc": 0.05,
    "val_pgd_3.0_acc": 0.06,
    "val_fgsm_8.0_acc": 0.15,
    "val_pgd_8.0_acc": 0.2,
}


def seeded(by_seed: dict[int, float]) -> dict[str, float]:
    return {str(seed): value for seed, value in by_seed.items()} | {"threeseed": sum(by_seed.values()) / len(by_seed)}


def all_metrics(clean: dict[int, float]) -> dict[str, dict[str, float]]:
    return {
        name: seeded({seed: round(value - loss, 4) for seed, value in clean.items()}) for name, loss in LOSS.items()
    }


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


def import_content(content: object, path: Path):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return import_seed_file(path)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return Benchmark(import_content(seed_content(), tmp_path_factory.mktemp("seeds") / "all.json"))


def test_single_seeds_are_kept_to_the_last_bit(seeds):
    assert seeds.query(1000, "cifar10", "fgsm_acc", eps=3 / 255, seed=1) == 0.6729999780654907
    assert seeds.query(1000, "cifar10", "pgd_acc@3/255", seed=1) == 0.6680999994277954
    for dataset, by_index in seed_content().items():
        for index, by_metric in by_index.items():
            for name, by_seed in by_metric.items():
                metric = METRICS[name.replace(".0", "")]
                expected = (
                    {int(seed): value for seed, value in by_seed.items() if seed != "threeseed"}
                    if isinstance(by_seed, dict)
                    else {}
                )
                result = seeds.lookup(int(index), DATASETS[dataset], metric)
                assert result.seeds == expected
                assert result.n_seeds == (len(expected) or 1)


def test_without_a_seed_the_answer_is_the_mean_over_those_that_ran(seeds):
    assert seeds.query(1000, "cifar10", "clean_acc") == pytest.approx((0.7 + 0.71 + 0.705) / 3, abs=1e-15)
    assert seeds.query(0, "cifar10", "clean_acc") == pytest.approx(0.55, abs=1e-15)
    assert seeds.query(0, "cifar10", "pgd_acc") == 0.25
    assert seeds.query(9930, "cifar10", "autoattack_acc") == 0.4438


def test_the_standard_deviation_is_that_of_the_sample(seeds):
    assert seeds.lookup(1000, "cifar10", "clean_acc").std == pytest.approx(0.005, abs=1e-12)
    assert seeds.lookup(0, "cifar10", "clean_acc").std == pytest.approx(math.sqrt(0.005), abs=1e-12)
    assert seeds.lookup(9930, "cifar10", "clean_acc").std is None
    assert seeds.lookup(9930, "cifar10", "autoattack_acc").std is None


def test_counts_follow_from_the_grid(seeds):
    assert seeds.lookup(1000, "cifar10", "fgsm_acc@3/255", seed=1).correct == 6730
    assert seeds.lookup(1000, "cifar10", "clean_acc").correct == 7000 + 7100 + 7050
    assert seeds.lookup(1000, "imagenet", "clean_acc").correct == 750 + 756


def test_a_seed_that_was_not_run_is_answered_with_those_that_were(seeds):
    with pytest.raises(MissingResultError, match=r"seed 2 .*cell 0 \(seeds that were run: 1, 3\)") as caught:
        seeds.query(0, "cifar10", "clean_acc", seed=2)
    assert caught.value.available == (1, 3)
    with pytest.raises(MissingResultError, match=r"no seed 4 .*\(seeds that were run: 1, 2, 3\)"):
        seeds.query(1000, "cifar10", "clean_acc", seed=4)
    with pytest.raises(MissingResultError, match="gives no single seeds"):
        seeds.query(1000, "cifar10", "autoattack_acc", seed=1)
    with pytest.raises(MissingResultError, match="no clean_acc on cifar10 for cell 1"):
        seeds.query(1, "cifar10", "clean_acc")


def test_only_data_sets_with_results_are_described(seeds):
    assert seeds.datasets == ("cifar10", "ImageNet16-120")
    assert seeds.version == "1-seeds"


def test_members_of_a_class_are_answered_by_the_representative(seeds):
    member = cells.Cell.from_index(0).members[1]
    assert seeds.query(member, "cifar10", "clean_acc", seed=3) == 0.6


def test_a_mean_that_is_not_the_mean_is_logged_and_the_seeds_are_kept(tmp_path, caplog):
    content = seed_content()
    content["cifar10"]["1000"]["val_acc"]["threeseed"] = 0.8
    with caplog.at_level(logging.WARNING):
        table = import_content(content, tmp_path / "all.json")
    assert [record.name for record in caplog.records] == ["nasbench_robust.releases.importers"]
    assert "'threeseed' is not the mean of the seeds in 1 places, first: cifar10, cell '1000', 'val_acc'" in caplog.text
    assert Benchmark(table).lookup(1000, "cifar10", "clean_acc").seeds == {1: 0.7, 2: 0.71, 3: 0.705}


def test_means_that_are_right_are_not_logged(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        import_content(seed_content(), tmp_path / "all.json")
    assert not caplog.records


def test_the_per_seed_table_has_no_errors(seeds, tmp_path):
    findings = validate(import_content(seed_content(), tmp_path / "all.json"))
    assert {finding.kind for finding in findings} == {"missing"}


WRONG_SEED_FILES = [
    ({}, "holds no results"),
    ({"cifar10": {}}, "holds no results"),
    ([], "the file: expected an object, got a list"),
    ({"mnist": {}}, "key 'mnist': unknown data set, expected one of cifar10, cifar100, imagenet"),
    ({"cifar10": []}, "cifar10: expected an object, got a list"),
    ({"cifar10": {"15625": {}}}, "cifar10, cell '15625': expected a cell index from 0 to 15624"),
    ({"cifar10": {"01": {}}}, "cifar10, cell '01': expected a cell index"),
    ({"cifar10": {"0": 0.5}}, "cifar10, cell '0': expected an object, got a number"),
    ({"cifar10": {"1000": {"acc": 0.5}}}, "cifar10, cell '1000': unknown metric 'acc'"),
    ({"cifar10": {"1000": {"val_fgsm_4.0_acc": {"1": 0.5}}}}, "unknown metric 'val_fgsm_4.0_acc'"),
    ({"cifar10": {"1000": {"val_acc": {"1": 1.5}}}}, "'val_acc', '1': expected an accuracy in [0, 1], got 1.5"),
    ({"cifar10": {"1000": {"val_acc": {"1": [0.5]}}}}, "'val_acc', '1': expected an accuracy in [0, 1], got a list"),
    ({"cifar10": {"1000": {"val_acc": {"one": 0.5}}}}, "'val_acc', 'one': expected a seed number or 'threeseed'"),
    ({"cifar10": {"1000": {"val_acc": {"-1": 0.5}}}}, "'val_acc', '-1': expected a seed number"),
    ({"cifar10": {"1000": {"val_acc": {"threeseed": 0.5}}}}, "'val_acc': a mean without the seeds behind it"),
    ({"cifar10": {"1000": {"val_acc": {"1": 0.5, "threeseed": "x"}}}}, "'threeseed': expected an accuracy"),
    ({"cifar10": {"1000": {"autoattack": True}}}, "'autoattack': expected an accuracy in [0, 1], got a boolean"),
    ('{"cifar10": {"0": {}, "0": {}}}', "key '0': stands twice"),
    ('{"cifar10": {"0": {"val_acc": {"1": 0.5, "1": 0.5}}}}', "key '1': stands twice"),
]


@pytest.mark.parametrize(("content", "message"), WRONG_SEED_FILES)
def test_a_wrong_per_seed_file_is_refused_with_the_place(content, message, tmp_path):
    path = tmp_path / "all.json"
    with pytest.raises(SourceFormatError, match=re.escape(message)) as caught:
        import_content(content, path)
    assert caught.value.path == str(path)


def test_results_of_a_cell_that_is_no_representative_are_refused(tmp_path):
    member = cells.Cell.from_index(0).members[1]
    with pytest.raises(SourceFormatError, match=f"cifar10, cell '{member}'.*its representative is 0"):
        import_content({"cifar10": {str(member): {"val_acc": {"1": 0.5}}}}, tmp_path / "all.json")


@pytest.mark.parametrize(
    "by_metric",
    [
        {"val_acc": {"1": 0.5, "01": 0.6}},
        {"val_fgsm_3_acc": {"1": 0.5}, "val_fgsm_3.0_acc": {"1": 0.6}},
    ],
    ids=["a seed", "a metric"],
)
def test_what_is_named_twice_in_two_spellings_is_refused(by_metric, tmp_path):
    with pytest.raises(SourceFormatError, match="cifar10, cell '1000'"):
        import_content({"cifar10": {"1000": by_metric}}, tmp_path / "all.json")


# ---------------------------------------------------------------------- files that are not what they should be

TRAINED = 1000  # a representative
ALIAS = cells.Cell.from_index(0).members[1]  # a cell whose representative is 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("foreign")


@pytest.fixture(scope="module")
def page(made_up_file: Path) -> str:
    return made_up_file.read_text()


def refusal(text: str | bytes, folder: Path, importer=import_page_file) -> SourceFormatError:
    """Import a file that must be refused and return the error, which must name the file."""
    path = folder / "page.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SourceFormatError) as caught:
        importer(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < len(str(path)) + 300
    return caught.value


def with_entry(page: str, content: dict, index: int, entry: str) -> str:
    """Put `entry`, JSON or not, in the place of a cell's entry."""
    whole = f'"{index}": {json.dumps(content[str(index)])}'
    assert page.count(whole) == 1
    return page.replace(whole, f'"{index}": {entry}')


def with_value(page: str, content: dict, field: int, value: str) -> str:
    values = [json.dumps(number) for number in content[str(TRAINED)]]
    values[field] = value
    return with_entry(page, content, TRAINED, f"[{', '.join(values)}]")


def test_the_page_itself_is_read(page, folder, made_up_content):
    path = folder / "whole.json"
    for text in (page, page.replace("acc=", "\n var acc = ", 1) + " ;\n", page.removeprefix("acc=")):
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


@pytest.mark.parametrize(
    ("value", "given_"),
    [
        ('"0.5"', "a string"),
        ("true", "a boolean"),
        ("null", "null"),
        ("[0.5]", "a list"),
        ('{"a": 0.5}', "an object"),
        ("1" + "0" * 400, "1000"),
        ("-1", "-1"),
        ("2", "2"),
        ("1e400", "inf"),
        ("-1e400", "-inf"),
        ("-0.1", "-0.1"),
        ("1.1", "1.1"),
        ("1.0000000000000002", "1.0000000000000002"),
    ],
)
def test_a_value_that_is_no_accuracy_is_refused_with_key_and_field(page, made_up_content, folder, value, given_):
    for field in (0, 17):
        error = refusal(with_value(page, made_up_content, field, value), folder)
        assert error.where == f"key '{TRAINED}', field {field}"
        assert f"expected an accuracy in [0, 1], got {given_}" in error.problem


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_a_value_that_json_does_not_have_is_named(page, made_up_content, folder, value):
    assert refusal(with_value(page, made_up_content, 3, value), folder).problem == f"holds {value}, which is no result"


@pytest.mark.parametrize("value", ["1" + "0" * 5000, "[" * 100_000, '{"a":' * 100_000, "undefined", "'0.5'", "0x1", ""])
def test_a_value_that_no_parser_takes_is_refused(page, made_up_content, folder, value):
    refusal(with_value(page, made_up_content, 3, value), folder)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("null", "expected a list of values or an index, got null"),
        ("true", "expected a list of values or an index, got a boolean"),
        ("0.0", "expected a list of values or an index, got a number"),
        ("{}", "expected a list of values or an index, got an object"),
        ('"1000"', "points at cell 1000, but its representative is 0"),
        ('"00"', "points at cell 00, but its representative is 0"),
        ('"0 "', "points at cell 0 , but its representative is 0"),
        ('""', "points at cell , but its representative is 0"),
        (f'"{ALIAS}"', f"points at cell {ALIAS}, but its representative is 0"),
        (f'"0{"x" * 10_000}"', "points at cell 0xxxxxxxxxxxxxxxxxxx, but"),
        ("1" + "0" * 400, "points at cell 10000000000000000000, but"),
        ("-0", None),  # the integer 0: right
        ("0", None),
        (json.dumps([0.1] * 18), "has results of its own, but its representative is 0"),
    ],
)
def test_a_wrong_alias_is_refused_with_its_key(page, made_up_content, folder, entry, problem):
    text = with_entry(page, made_up_content, ALIAS, entry)
    if problem is None:
        (folder / "alias.json").write_text(text)
        assert import_page_file(folder / "alias.json").num_rows == 6_466 * 6
        return
    error = refusal(text, folder)
    assert error.where == f"key '{ALIAS}'"
    assert problem in error.problem


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ('"0"', f"points at cell 0, but its representative is {TRAINED}"),
        (f'"{TRAINED}"', f"points at cell {TRAINED}"),
        ("[]", "expected 18 values, got 0"),
        (json.dumps([0.1] * 17), "expected 18 values, got 17"),
        (json.dumps([0.1] * 19), "expected 18 values, got 19"),
    ],
)
def test_a_representative_without_its_values_is_refused(page, made_up_content, folder, entry, problem):
    error = refusal(with_entry(page, made_up_content, TRAINED, entry), folder)
    assert error.where == f"key '{TRAINED}'"
    assert problem in error.problem


def test_aliases_in_a_circle_are_refused(page, made_up_content, folder):
    circle = with_entry(with_entry(page, made_up_content, 0, f'"{ALIAS}"'), made_up_content, ALIAS, '"0"')
    assert refusal(circle, folder).where == "key '0'"
    loop = with_entry(page, made_up_content, ALIAS, f'"{ALIAS}"')
    assert refusal(loop, folder).where == f"key '{ALIAS}'"


def test_a_key_that_stands_twice_is_refused(page, made_up_content, folder):
    for key in ("", "0", str(ALIAS), "15624"):
        doubled = page[:-1] + f', "{key}": {json.dumps(made_up_content[key])}}}'
        error = refusal(doubled, folder)
        assert (error.where, error.problem) == (f"key {key!r}", "stands twice")


@pytest.mark.parametrize("key", ["15625", "-1", "01", "1.0", " 1", "1 ", "x", "\u0661", "99999999999999999999"])
def test_a_key_that_is_no_cell_is_refused(page, folder, key):
    error = refusal(f'{page[:-1]}, "{key}": "0"}}', folder)
    assert error.where == f"key {key!r}"
    assert error.problem == "expected a cell index from 0 to 15624"


@pytest.mark.parametrize("index", [0, ALIAS, 15_624])
def test_a_missing_cell_is_named(page, made_up_content, folder, index):
    whole = f', "{index}": {json.dumps(made_up_content[str(index)])}'
    error = refusal(page.replace(whole, ""), folder)
    assert f"expected all 15625 cells, got 15624; cell {index} is missing" in error.problem


@pytest.mark.parametrize(
    ("header", "where"),
    [
        (None, "key ''"),
        ({}, "key ''"),
        ([], "key ''"),
        ("val_acc", "key ''"),
        ([*PAGE_FIELDS[:-1], 5], "key ''"),
        ([*PAGE_FIELDS[:-1], PAGE_FIELDS[0]], "key ''"),
        ([*PAGE_FIELDS[:-1], "cifar10#val_fgsm_8.0_acc"], "key ''"),
        ([*PAGE_FIELDS[:-1], "cifar10"], "field 'cifar10'"),
        ([*PAGE_FIELDS[:-1], "mnist#val_acc"], "field 'mnist#val_acc'"),
        ([*PAGE_FIELDS[:-1], "cifar10#acc"], "field 'cifar10#acc'"),
        (PAGE_FIELDS[:-1], "key '0'"),
        ([*PAGE_FIELDS, "cifar10#val_pgd_4_acc"], "field 'cifar10#val_pgd_4_acc'"),
    ],
)
def test_a_wrong_header_is_refused(page, made_up_content, folder, header, where):
    error = refusal(page.replace(json.dumps(made_up_content[""]), json.dumps(header)), folder)
    assert error.where == where


def test_a_page_without_a_header_is_refused(made_up_content, folder):
    without = {key: entry for key, entry in made_up_content.items() if key}
    path = write_page(without, folder / "headless.json")
    with pytest.raises(SourceFormatError, match="key '': expected a list of field names"):
        import_page_file(path)


def test_fields_in_another_order_are_read_by_their_names(made_up_content, folder):
    order = random.Random(0).sample(range(18), 18)
    shuffled = {
        key: [entry[position] for position in order] if isinstance(entry, list) else entry
        for key, entry in made_up_content.items()
    }
    bench = Benchmark(import_page_file(write_page(shuffled, folder / "shuffled.json")))
    for field in PAGE_FIELDS:
        dataset, metric = field.split("#")
        values = bench.query_many(range(cells.SIZE), DATASETS[dataset], METRICS[metric])
        assert np.array_equal(values, expanded(made_up_content, field))


NO_PAGES = {
    "empty": b"",
    "white space": b" \n\t ",
    "only the name": b"acc=",
    "null": b"null",
    "a number": b"5",
    "a list": b"acc=[]",
    "a string": b'"acc"',
    "an empty object": b"{}",
    "not UTF-8": b'acc={"": ["\xff"]}',
    "UTF-16": 'acc={"": []}'.encode("utf-16"),
    "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "a web page": b"<!DOCTYPE html><html></html>",
    "brackets": b"acc=" + b"[" * 200_000,
    "braces": b'{"a":' * 200_000,
    "zeros": bytes(1000),
    "a lone surrogate": b'{"\\ud800": 1}',
    "a long number": b"1" * 100_000,
    "a long name": b"x" * 100_000 + b"=",
}


@pytest.mark.parametrize("name", NO_PAGES)
@pytest.mark.parametrize("kind", IMPORTERS)
def test_a_file_of_another_kind_is_refused_by_every_importer(kind, name, folder):
    refusal(NO_PAGES[name], folder, IMPORTERS[kind])


def test_bytes_that_are_no_text_are_counted(folder):
    assert refusal(b'acc={"": ["\xff"]}', folder).where == "byte 11"


def test_a_published_page_is_no_standard_file_and_no_per_seed_file(made_up_file):
    for importer in (import_standard_file, import_seed_file):
        with pytest.raises(SourceFormatError):
            importer(made_up_file)


@pytest.mark.parametrize("kind", IMPORTERS)
def test_a_file_that_is_not_there_is_missing_data(kind, tmp_path):
    with pytest.raises(MissingDataError, match=re.escape(str(tmp_path / "absent.json"))):
        IMPORTERS[kind](tmp_path / "absent.json")


@pytest.mark.parametrize("kind", IMPORTERS)
def test_a_folder_in_the_place_of_a_file_is_refused(kind, tmp_path):
    with pytest.raises(NasbenchRobustError, match=re.escape(str(tmp_path))):
        IMPORTERS[kind](tmp_path)


# ---------------------------------------------------------------------- arbitrary damage

PIECES = [
    "",
    " ",
    "0",
    "1",
    "9",
    "-",
    ".",
    "e",
    "E9",
    '"',
    ",",
    ":",
    "[",
    "]",
    "{",
    "}",
    "null",
    "true",
    "NaN",
    "\\",
    "\x00",
]


def read_or_refused(importer: Callable[[Path], pa.Table], path: Path) -> pa.Table | None:
    """Return the table, or None where the file is refused; any other error is an error of the test too."""
    try:
        return importer(path)
    except SourceFormatError as error:
        if error.path != str(path):
            raise
        return None


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_damaged_page_is_read_or_refused(page, folder, data):
    start = data.draw(st.integers(0, len(page) - 1))
    length = data.draw(st.integers(0, 30))
    piece = data.draw(st.sampled_from(PIECES) | st.text(max_size=5))
    path = folder / "damaged.json"
    path.write_text(page[:start] + piece + page[start + length :], encoding="utf-8", errors="surrogatepass")
    table = read_or_refused(import_page_file, path)
    if table is None:
        return
    assert table.num_rows == 6_466 * 6


SEED_TEXT = json.dumps(seed_content())


def check_seed_text(text: str, folder: Path) -> None:
    """A text is refused with `SourceFormatError`, or gives a table that can be queried and validated."""
    path = folder / "seeds.json"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    table = read_or_refused(import_seed_file, path)
    if table is None:
        return
    assert not {"schema", "unreadable", "range", "doubled"} & {finding.kind for finding in validate(table)}
    bench = Benchmark(table)
    for dataset in bench.datasets:
        assert bench.frame(dataset).shape[0] == 6_466


@settings(deadline=None)
@given(
    start=st.integers(0, len(SEED_TEXT)),
    length=st.integers(0, 30),
    piece=st.sampled_from(PIECES) | st.text(max_size=5),
)
@example(start=0, length=len(SEED_TEXT), piece='{"cifar10": {"0": {"val_acc": {}}}}')
def test_a_damaged_per_seed_file_is_read_or_refused(folder, start, length, piece):
    check_seed_text(SEED_TEXT[:start] + piece + SEED_TEXT[start + length :], folder)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.floats(0, 1)
    | st.text(max_size=4)
    | st.just(10**400)
)
KEYS = st.sampled_from(["cifar10", "imagenet", "0", "1000", "val_acc", "autoattack", "1", "2", "threeseed"]) | st.text(
    max_size=3
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=10
)


@settings(deadline=None)
@given(tree=TREES, path=st.lists(st.integers(0, 4), max_size=5))
def test_any_tree_anywhere_in_a_per_seed_file_is_read_or_refused(folder, tree, path):
    content: object = seed_content()
    parent, place = {"": content}, ""
    for step in path:
        if not isinstance(parent[place], dict):
            break
        parent, place = parent[place], list(parent[place])[step % len(parent[place])]
    if parent.get("") is content:
        content = tree
    else:
        parent[place] = tree
    check_seed_text(json.dumps(content), folder)

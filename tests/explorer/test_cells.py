"""What the page says of a cell: values, class, twins, neighbours, curves and images, all as the tables have it."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from browsing import AUTOATTACK, CLEAN, PGD

from nasbench_robust import cells
from nasbench_robust.cells import Cell
from nasbench_robust.releases import locate

CELLS = np.random.default_rng(0).integers(0, cells.SIZE, 200).tolist()
FEW = CELLS[:12]
READ_VALUES = """
async (cells) => {
  document.querySelectorAll('#values details:not([open]) summary').forEach(summary => summary.click());
  await new Promise(done => setTimeout(done, 100));
  document.querySelectorAll('#values .metric[aria-expanded=false]').forEach(metric => metric.click());
  return cells.map((cell) => {
    document.getElementById('find').value = cell;
    document.getElementById('find-form').requestSubmit();
    return Object.fromEntries([...document.querySelectorAll('#values tr[data-metric]')].map((row) => {
      const [value, rank, more] = [row.querySelector('.value'), row.querySelector('.rank'), row.nextSibling];
      const seeds = [...more.querySelectorAll('.seed')].map(seed => [seed.dataset.seed, Number(seed.dataset.value)]);
      const std = more.querySelector('[data-std]')?.dataset.std ?? null;
      const texts = { shown: value.textContent, rank: rank.textContent, known: more.textContent };
      const numbers = { value: Number(value.dataset.value), seeds: Object.fromEntries(seeds), std: std && Number(std) };
      return [row.dataset.metric, { ...texts, ...numbers }];
    }));
  });
}
"""


def test_values_seeds_and_spreads_are_those_of_the_tables(view, benches):
    """All metrics of 200 cells of two releases, to the last bit."""
    read = view.page.evaluate(READ_VALUES, [str(index) for index in CELLS])
    compared = 0
    for index, shown in zip(CELLS, read, strict=True):
        for bench in benches:
            for dataset in bench.datasets:
                for metric in bench.measured(dataset):
                    answer = bench.lookup(index, dataset, metric.column)
                    said = shown[f"{bench.name}/{dataset}/{metric.column}"]
                    assert said["value"] == answer.value
                    assert abs(float(said["shown"]) - answer.value) <= 0.5e-4 + 1e-12
                    assert {int(seed): value for seed, value in said["seeds"].items()} == answer.seeds
                    assert said["std"] == (pytest.approx(answer.std, abs=1e-15) if answer.std is not None else None)
                    assert f"{answer.correct:,} of" in said["known"]
                    if answer.attack is not None and answer.attack.steps is not None:
                        assert f"{answer.attack.steps} step" in said["known"]
                    compared += 1
    assert compared == 200 * (11 + 18)


def test_ranks_are_places_among_classes(view, benches):
    [digits, _] = benches
    read = view.page.evaluate(READ_VALUES, [str(index) for index in FEW])
    values = digits.frame(metrics=["pgd_acc"])["pgd_acc"]
    for index, shown in zip(FEW, read, strict=True):
        better = int((values > digits.query(index, metric="pgd_acc")).sum())
        assert shown[PGD]["rank"] == f"{better + 1:,}"


@pytest.mark.parametrize(
    "encoding", ["index", "nasbench-201", "opcodes", "nasbench-suite-zero", "adjacency", "one-hot"]
)
def test_a_cell_is_found_in_any_encoding(view, encoding):
    for index in FEW:
        cell = Cell.from_index(index)
        text = str(index) if encoding == "index" else cell.encode(encoding)
        view.page.fill("#find", str(text.tolist() if hasattr(text, "tolist") else text))
        view.page.press("#find", "Enter")
        assert view.cell() == index
        assert view.page.inner_text("#string") == str(cell)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("15625", "A cell index lies in 0 to 15624"),
        ("007", "did you mean 7?"),
        ("333135", "Six digits are opcodes"),
        ("|conv~0|+|none~0|none~1|+|none~0|none~1|none~2|", "Edge 0: unknown operation “conv”"),
        ("|none~0|+|none~0|none~1|", "3 nodes joined by “+”; this has 2"),
        ("[[0,1,0,0],[0,0,0,0],[0,0,0,0],[0,0,0,0]]", "zeros on and above its diagonal"),
        ("resnet", "“resnet” is no cell"),
    ],
)
def test_what_is_no_cell_is_said_in_a_sentence(view, text, said):
    before = view.cell()
    view.page.fill("#find", text)
    view.page.press("#find", "Enter")
    assert said in view.page.inner_text("#find-error")
    assert view.cell() == before


def test_class_twins_and_facts(view, benches):
    twin = int(np.flatnonzero(cells.families() != np.arange(cells.SIZE))[0])
    skeleton = benches[0].info.datasets["digits"].skeleton
    for index in [*FEW, twin, int(cells.families()[twin])]:
        cell = Cell.from_index(index)
        view.show(cell=index)
        facts = dict(zip(*(view.page.locator(f"#facts {tag}").all_inner_texts() for tag in ("dt", "dd")), strict=True))
        assert facts["parameters"] == f"{cell.parameters(skeleton):,} on digits"
        assert facts["FLOPs"] == f"{cell.flops(skeleton):,} on digits"
        assert facts["opcodes"] == cell.encode("opcodes")
        assert facts["signal"].startswith("reaches") == cell.connected
        others = [other for other in cell.members if other != index]
        listed = [int(word) for word in facts["same graph"].split() if word.isdecimal()]
        assert listed[:6] == others[:6]
        family = [int(each) for each in np.flatnonzero(cells.families() == cells.families()[index])]
        twins = sorted({int(cells.representatives()[each]) for each in family} - {cell.representative})
        assert [int(word) for word in facts["same function"].split() if word.isdecimal()][:6] == twins[:6]


def test_one_edit_away_is_every_neighbour(view, benches):
    for index in FEW:
        view.show(cell=index)
        buttons = view.page.locator("#near-table button")
        shown = buttons.evaluate_all("all => all.map(one => [Number(one.dataset.cell), Number(one.dataset.value)])")
        near = {cell.index for cell in Cell.from_index(index).neighbours()}
        assert {cell for cell, _ in shown} == {*near, index}
        assert all(value == benches[0].query(cell, metric="pgd_acc") for cell, value in shown)


def test_every_edge_of_the_drawing_can_be_changed(view, benches):
    """Drawing, values and address follow at once, and what the change is worth is said."""
    view.show(cell=9930)
    for edge in range(6):
        before, operations = view.cell(), list(Cell.from_index(view.cell()).operations)
        operations[edge] = "avg_pool_3x3" if operations[edge] != "avg_pool_3x3" else "nor_conv_1x1"
        view.page.click(f'#drawing [data-edge="{edge}"] .chip')
        view.page.click(f'#edge-menu [data-choice="{operations[edge]}"]')
        expected = Cell(operations)
        assert view.cell() == expected.index == int(view.state()["cell"])
        assert view.page.get_attribute(f'#drawing [data-edge="{edge}"]', "data-operation") == operations[edge]
        answers = [benches[0].query(index, metric="pgd_acc") for index in (expected.index, before)]
        assert view.value() == answers[0]
        change = view.page.get_attribute(f'#values tr[data-metric="{PGD}"] .change', "data-change")
        assert float(change) == answers[0] - answers[1]
        assert f"Back to {before}" in view.page.inner_text("#edit")
        assert f"Cell {expected.index}. PGD 0.1 {answers[0]:.4f}" in view.page.inner_text("#live")
    view.page.click("#edit button")
    assert view.cell() == before


def test_dead_edges_look_dead(view):
    for index in FEW:
        view.show(cell=index)
        cell = Cell.from_index(index)
        dead = {
            int(edge)
            for edge in view.page.locator("#drawing .dead").evaluate_all("all => all.map(one => one.dataset.edge)")
        }
        assert dead == {edge for edge, pair in enumerate(cells.EDGES) if pair not in cell.live_edges}


# ------------------------------------------------------------------ curves and images


@pytest.fixture(scope="module")
def beside():
    """The tables of curves and outcomes, as they lie in the package."""
    folder = locate("digits").parent
    return {name: pq.read_table(folder / f"{name}.parquet") for name in ("curves", "outcomes")}


def rows_of(table, index, **wanted):
    mask = pc.equal(table.column("index"), Cell.from_index(index).representative)
    for name, value in wanted.items():
        mask = pc.and_(mask, pc.equal(table.column(name), value))
    return table.filter(mask)


def test_images_are_those_that_the_runs_fail_on(view, beside):
    """By metric, seed and class of the image."""
    with np.load(locate("digits").parent / "images.npz") as stored:
        order = np.random.RandomState(0).permutation(1797)[-517:]
        labels = stored["labels"][order]
    read = "all => Object.fromEntries(all.map(row => [row.dataset.class, Number(row.dataset.failing)]))"
    for index, column in zip(FEW, [PGD, CLEAN, AUTOATTACK, "digits/digits/fgsm_acc@0.1"] * 3, strict=True):
        metric = column.rpartition("/")[2]
        failures = {}
        for row in rows_of(beside["outcomes"], index, metric=metric).to_pylist():
            bits = np.frombuffer(row["correct"], np.uint8)
            failures[row["seed"]] = np.unpackbits(bits, bitorder="little", count=row["images"]) == 0
        for seed in ("0", "1", "2", "all"):
            view.show(cell=index, image=f"{metric}~{seed}")
            failed = np.logical_or.reduce([*failures.values()]) if seed == "all" else failures[int(seed)]
            view.page.wait_for_selector(f'#failed[data-failed="{failed.sum()}"]')
            shown = view.page.locator("#images .class-row").evaluate_all(read)
            assert shown == {str(label): int(failed[labels == label].sum()) for label in range(10)}


def test_curves_are_those_of_the_runs(view, beside):
    """The mean over seeds, at every epoch that the pointer is over."""
    for index in FEW[:3]:
        view.show(cell=index)
        curves = rows_of(beside["curves"], index).to_pandas()
        view.page.wait_for_selector("#curves .u-over")
        for epoch in (1, 5, 12, 20):
            view.page.locator("#curves").scroll_into_view_if_needed()
            box = view.page.locator("#curves .u-over").bounding_box()
            view.page.mouse.move(box["x"] + (epoch - 1) / 19 * box["width"] * 0.999 + 0.2, box["y"] + 40)
            said = f"() => document.querySelector('.readout span').innerText.endsWith(' epoch {epoch}')"
            view.page.wait_for_function(said)
            for name in ("clean_acc", "pgd_acc", "train_acc"):
                shown = float(view.page.get_attribute(f'.readout [data-curve="{name}"]', "data-value"))
                assert shown == pytest.approx(curves.loc[curves["epoch"] == epoch, name].mean(), abs=1e-12)

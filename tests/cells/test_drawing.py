"""Pictures of cells: what is on them is the cell, for who sees them and for who has them read out."""

from __future__ import annotations

import io
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

import nasbench_robust as nbr
from nasbench_robust.cells import EDGES, OPERATIONS, SIZE, Cell, drawing, representatives
from nasbench_robust.cli import main
from nasbench_robust.errors import InvalidValueError, MissingPackageError

SVG = "{http://www.w3.org/2000/svg}"
DISCONNECTED = 1234
STARTS = {".svg": b"<svg xmlns", ".pdf": b"%PDF", ".png": b"\x89PNG"}


def texts(root: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("index", [0, 9, 9930, DISCONNECTED, 15_624])
def test_an_svg_holds_every_operation_and_names_the_cell(index):
    cell = Cell.from_index(index)
    root = ElementTree.fromstring(cell._repr_svg_())
    labels = texts(root)
    expected = sorted(drawing.LABELS[operation] for operation in cell.operations)
    assert sorted(label for label in labels if label in drawing.LABELS.values()) == expected
    assert f"cell {index}" in labels[-1]
    assert ("not connected" in labels[-1]) is (not cell.connected)
    named = {each.get("id"): each.text for each in root if each.get("id")}
    assert root.get("role") == "img"
    assert set(root.get("aria-labelledby").split()) == set(named)
    assert all(f"{a} to {b}: " in named[f"cell-{index}-text"] for a, b in EDGES)


def test_edges_have_the_colours_of_their_operations_and_dead_ones_are_grey():
    rng = np.random.default_rng(0)
    for index in rng.choice(SIZE, 100, replace=False):
        cell = Cell.from_index(int(index))
        for edge, operation, (label, colour, state) in zip(EDGES, cell.operations, drawing.looks(cell), strict=True):
            assert label == drawing.LABELS[operation]
            assert (state == "live") == (edge in cell.live_edges)
            assert colour == (drawing.DEAD if state == "dead" else drawing.COLOURS[operation])
            assert cell._repr_svg_().count(f'fill="{colour}"') >= 1
    assert len(set(drawing.COLOURS.values()) | {drawing.DEAD}) == len(OPERATIONS) + 1


def test_pictures_are_written_by_their_ending(tmp_path):
    pytest.importorskip("matplotlib")
    for ending, start in STARTS.items():
        for path in (tmp_path / f"one{ending}", tmp_path / f"two{ending.upper()}"):
            Cell.from_index(9930).draw(path)
            assert path.read_bytes().startswith(start)
    assert len({(tmp_path / name).read_bytes() for name in ("one.pdf", "two.PDF")}) == 1
    assert (tmp_path / "one.svg").read_text() == Cell.from_index(9930)._repr_svg_()


def test_other_endings_are_refused_and_only_matplotlib_is_asked_for(tmp_path, monkeypatch):
    with pytest.raises(InvalidValueError, match=r"path is .*cell'.*\.svg, \.pdf, \.png; did you mean .*cell\.svg"):
        Cell.from_index(1).draw(tmp_path / "cell")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match=r"'matplotlib' is needed.*\.\[plots\]"):
        Cell.from_index(1).draw(tmp_path / "cell.png")
    Cell.from_index(1).draw(tmp_path / "cell.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["cell.svg"]


@pytest.mark.parametrize("index", [0, 9930, DISCONNECTED])
def test_letters_hold_every_operation_too(index):
    cell = Cell.from_index(index)
    drawn = drawing.text(cell)
    found = re.findall("|".join(drawing.LABELS.values()), drawn)
    assert sorted(found) == sorted(drawing.LABELS[operation] for operation in cell.operations)
    assert len({len(line) for line in drawn.splitlines()[1:]}) == 1
    assert drawing.text(cell, ascii_only=True).isascii()
    assert ("─" in drawn) is cell.connected


def test_the_command_shows_values_and_ranks(capsys):
    assert main(["cell", "9930"]) == 0
    printed = capsys.readouterr().out
    bench = nbr.load()
    trained = representatives() == np.arange(SIZE)
    for metric in bench.measured():
        values = bench.values(metric=metric.column)
        rank = 1 + int((values[trained] > values[9930]).sum())
        row = next(line.split() for line in printed.splitlines() if line.split()[:1] == [metric.column])
        assert float(row[1]) == pytest.approx(values[9930], abs=6e-7)
        assert (row[2], row[4], row[5]) == ("3", str(rank), "6466")
    assert f"{Cell.from_index(9930).parameters(bench.info.datasets['digits'].skeleton):,} parameters" in printed
    assert drawing.text(Cell.from_index(9930)) in printed


def test_the_command_is_plain_where_the_terminal_is(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    assert main(["cell", str(DISCONNECTED)]) == 0
    assert drawing.text(Cell.from_index(DISCONNECTED), ascii_only=True).encode() in raw.getvalue()


def test_a_result_shows_its_cell_and_its_facts():
    shown = nbr.load().lookup(9930, metric="pgd_acc")._repr_html_()
    assert "<svg" in shown
    assert "pgd_acc@0.1" in shown
    assert "<script" not in shown

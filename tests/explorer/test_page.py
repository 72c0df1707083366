"""The page as a whole: one file, quick, for keyboards, phones, paper and every theme; what the command says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from browsing import CLEAN, Explorer
from made_up_tables import SMALL, few_runs
from processes import PATIENCE

import nasbench_robust as nbr
from nasbench_robust import cli, explorer
from nasbench_robust.cells import Cell
from nasbench_robust.releases import locate
from nasbench_robust.table import Benchmark, runs_table

PAGE = Path(explorer.__file__).parent / "page"


@pytest.fixture
def phone(browser, page_file) -> Iterator[Explorer]:
    opened = Explorer(browser, page_file, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    yield opened
    assert opened.faults == []
    opened.context.close()


# ------------------------------------------------------------------ the command


def test_a_stranger_sees_the_landscape_clicks_the_best_cell_changes_an_edge_and_reads_the_new_value(browser, tmp_path):
    """What the manual promises, from the shell on."""
    words = [sys.executable, "-m", "nasbench_robust", "explore", "--no-open", "--out", str(tmp_path / "digits.html")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert re.fullmatch(rf"{tmp_path}/digits.html: \d\.\d MB, needs no network\n", done.stdout)
    page = Explorer(browser, tmp_path / "digits.html", "#cell=0")
    bench = nbr.load()
    frame = bench.frame(metrics=["clean_acc", "pgd_acc"])
    best = bench.best(metric="pgd_acc", k=1).index[0]
    page.page.mouse.click(
        *page.position(*frame.loc[best, ["clean_acc", "pgd_acc"]], frame["clean_acc"], frame["pgd_acc"])
    )
    assert page.cell() == best
    assert page.value() == bench.query(best, metric="pgd_acc")
    page.page.click('#drawing [data-edge="3"] .chip')
    page.page.click("#edge-menu >> text=skip connection")
    operations = list(Cell.from_index(best).operations)
    operations[3] = "skip_connect"
    assert page.page.inner_text("#string") == str(Cell(operations))
    assert page.value() == bench.query(Cell(operations), metric="pgd_acc")
    assert page.faults == []
    page.context.close()


def test_without_a_browser_it_says_so(monkeypatch, tmp_path, capsys):
    import webbrowser

    def no_browser():
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", no_browser)
    monkeypatch.setenv("NASBENCH_ROBUST_HOME", str(tmp_path))
    assert cli.main(["explore", "--small"]) == 0
    where, said = capsys.readouterr().out.splitlines()
    assert where.startswith(f"{tmp_path}/explorer/digits.html: ")
    assert said == "no browser was found here: open this file in one"


def test_it_opens_the_browser_of_the_desktop_and_none_of_the_terminal(monkeypatch, tmp_path):
    import webbrowser

    shown = []

    class Desktop(webbrowser.BackgroundBrowser):
        def open(self, url, new=0, autoraise=True):
            shown.append(url)
            return True

    for browser, expected in ((Desktop("x"), 1), (webbrowser.GenericBrowser("w3m"), 1)):
        monkeypatch.setattr(webbrowser, "get", lambda browser=browser: browser)
        assert cli.main(["explore", "--small", "--out", str(tmp_path / "page.html")]) == 0
        assert shown == [(tmp_path / "page.html").as_uri()] * expected


# ------------------------------------------------------------------ one small file


def test_the_page_is_small(benches, page_file):
    assert page_file.stat().st_size < 4e6
    assert len(explorer.page(benches, details=False).encode()) < 2e6


def test_without_curves_and_outcomes_it_shows_all_the_rest(browser, benches, tmp_path):
    page = Explorer(browser, explorer.write_page(tmp_path / "small.html", benches[:1], details=False))
    assert page.value() == benches[0].query(page.cell(), metric="pgd_acc")
    assert page.page.is_hidden("#curves-part")
    assert page.page.is_hidden("#images-part")
    assert page.faults == []
    page.context.close()


def test_a_table_of_few_cells_with_a_strange_title_is_shown_too(browser, tmp_path):
    """What is not there is said, and markup in a title is text."""
    title = "</script><img src=x onerror=alert(1)>"
    bench = Benchmark(runs_table(replace(SMALL, title=title), few_runs()))
    page = Explorer(browser, explorer.write_page(tmp_path / "page.html", [bench]), "#cell=4")
    assert "no result" in page.page.inner_text("#values")
    assert page.page.inner_text("#count") == f"6,466 classes, {len(bench.best(metric='pgd_acc', k=99))} with results"
    page.page.click("#tab-leaderboard")
    assert page.page.locator("#leaderboard tbody tr").count() == len(bench.best(metric="pgd_acc", k=99))
    assert page.page.locator(".source h3").all_text_contents() == [title]
    assert page.page.locator("img").count() == 0
    assert page.faults == []
    page.context.close()


def test_runs_that_ended_early_or_lack_outcomes_are_left_out_of_curves_and_images(browser, tmp_path):
    """Of a release of 30 cells: their accuracies are shown, and the other runs of the cells."""
    missing = {
        "curves": "index == 0 & seed == 1 & epoch > 12",
        "outcomes": "index == 1 & seed == 2 & metric == 'clean_acc'",
    }
    for name in ("runs", "curves", "outcomes"):
        table = pq.read_table(locate("digits").with_name(f"{name}.parquet"), filters=[("index", "<", 30)])
        rows = table.select([c for c in ("index", "seed", "epoch", "metric") if c in table.column_names]).to_pandas()
        drop = rows.eval(missing[name]) if name in missing else np.zeros(len(rows), bool)
        pq.write_table(table.filter(~np.asarray(drop)), tmp_path / f"{name}.parquet")
    page = Explorer(browser, explorer.write_page(tmp_path / "page.html", [nbr.load(tmp_path)]))
    for cell, seeds in ((0, ["0", "2"]), (1, ["0", "1"]), (2, ["0", "1", "2"])):
        page.show(cell=cell)
        page.page.wait_for_selector(f'#images[data-cell="{cell}"]')
        options = page.page.locator("#images select >> nth=1").locator("option")
        assert options.evaluate_all("all => all.map(one => one.value)") == ["all", *seeds]
    assert page.faults == []
    page.context.close()


@pytest.mark.alone
def test_it_is_drawn_and_answers_within_a_second(browser, page_file):
    page = Explorer(browser, page_file)
    ready = page.page.evaluate("performance.getEntriesByName('ready')[0].startTime")
    answered = page.page.evaluate(
        """() => new Promise(done => {
            const start = performance.now();
            document.querySelector('#near-table button:not([aria-current])').click();
            requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
        })"""
    )
    print(f"drawn after {ready:.0f} ms, an edit shown after {answered:.0f} ms")
    assert ready < 1000
    assert answered < 200
    page.context.close()


@pytest.mark.alone
def test_all_points_move_smoothly(browser, page_file):
    """Frames while 15,625 points are dragged; most of them within that of a screen of 60 a second, and no long halt."""
    page = Explorer(browser, page_file, "#view=all")
    box = page.page.locator("#plot .u-over").bounding_box()
    page.page.evaluate(
        """() => {
            window.frames_ = [];
            let last = performance.now();
            const note = now => { window.frames_.push(now - last); last = now; requestAnimationFrame(note); };
            requestAnimationFrame(note);
        }"""
    )
    mouse = page.page.mouse
    mouse.move(box["x"] + 300, box["y"] + 300)
    mouse.down()
    for step in range(120):
        mouse.move(box["x"] + 300 + step, box["y"] + 300 + step % 40)
    mouse.up()
    frames = sorted(page.page.evaluate("window.frames_")[3:])
    median, late = frames[len(frames) // 2], frames[int(len(frames) * 0.95)]
    print(f"{len(frames)} frames: median {median:.1f} ms, 95 % within {late:.1f} ms")
    assert median < 17.5
    assert late < 51
    page.context.close()


# ------------------------------------------------------------------ the address


def test_a_view_can_be_sent(browser, page_file, view):
    """What is seen at an address in another window is what was seen here."""
    view.show(
        x="digits/digits/parameters", xs="log", y=CLEAN, cell=9930, pins="1,2", pareto="true", ops="vvvvv7", q="a"
    )
    view.page.click('#drawing [data-edge="0"] .chip')
    view.page.click('#edge-menu [data-choice="none"]')
    other = Explorer(browser, page_file, view.page.evaluate("location.hash"))
    assert other.state() == view.state()
    for what in ("#cell-title", "#count", "#pin-count", "#front", "#string"):
        assert other.page.inner_text(what) == view.page.inner_text(what)
    assert other.page.locator("#plot").screenshot() == view.page.locator("#plot").screenshot()
    other.context.close()


def test_any_view_can_be_shown(view):
    """Views drawn at random, one after the other: nothing fails, and each is in the address."""
    rng = np.random.default_rng(0)
    variables = view.page.locator("#y option").evaluate_all("all => all.map(one => one.value)")
    choices = {
        "tab": ("landscape", "leaderboard", "compare"),
        **dict.fromkeys(("x", "y", "c", "x2", "y2", "sort"), variables),
        **dict.fromkeys(("xs", "ys"), ("linear", "log", "rank")),
        "view": ("representatives", "smallest", "families", "all"),
        **dict.fromkeys(("pareto", "near", "connected", "twins", "side"), ("true", "false")),
        "ops": ("vvvvvv", "000000", "v3vv1v", "vvvvg8"),
        "low": ("", "9000"),
        "high": ("", "100", "20000"),
        "pins": ("", "1", "9930,10,5,7"),
        "box": ("", "0.9,0.95,0.7,0.8", "0,0,0,0"),
        "q": ("", "avg_pool", "pgd>0.8"),
        "page": ("0", "3", "999"),
    }
    for cell in rng.integers(0, 15625, 25).tolist():
        wanted = {name: str(rng.choice(values)) for name, values in choices.items()} | {"cell": str(cell)}
        view.show(**wanted)
        assert view.cell() == cell
        said = view.state()
        assert all(said.get(name, wanted[name]) == wanted[name] for name in ("x", "y", "c", "ops", "pins", "cell"))
        assert view.faults == []


def test_an_address_with_nonsense_opens_all_the_same(browser, page_file):
    nonsense = "#x=no/such&cell=99999&ops=zz&pins=1,2,3,4,5&zoom=a,b&tab=nowhere&colour=red&cell=<b>&low=-1&y=__proto__"
    page = Explorer(browser, page_file, nonsense)
    assert page.cell() == nbr.load().best(metric="pgd_acc", k=1).index[0]
    assert page.faults == []
    page.context.close()


# ------------------------------------------------------------------ keyboard, screen readers, phones, paper


def test_everything_works_by_keyboard(view):
    page = view.page
    before = view.cell()
    page.focus("#plot")
    page.keyboard.press("ArrowDown")
    below = view.cell()
    assert below != before
    assert page.inner_text("#live").startswith(f"Cell {below}: ")
    page.keyboard.press("Enter")
    assert view.state()["pins"] == str(below)
    page.keyboard.press("+")
    page.wait_for_selector("#plot:focus")
    page.keyboard.press("0")
    page.keyboard.press("/")
    page.keyboard.type("9930\n")
    assert view.cell() == 9930
    page.focus('#drawing [data-edge="1"]')
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert Cell.from_index(view.cell()).operations[1] == "avg_pool_3x3"
    assert page.evaluate("document.activeElement.dataset.edge") == "1"
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    assert page.locator("#edge-menu").count() == 0
    page.focus("#tab-landscape")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#leaderboard")


def test_a_screen_reader_finds_a_name_for_everything_that_can_be_used(view):
    """Names, states and headings; the drawing says its edges."""
    view.show(tab="leaderboard", cell=9930)
    unnamed = view.page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, [role=button], [tabindex="0"]')]
            .filter(one => one.offsetParent && !one.ariaLabel && !one.textContent.trim() && !one.labels?.length
                           && !one.getAttribute('aria-labelledby'))
            .map(one => one.outerHTML.slice(0, 120))"""
    )
    assert unnamed == []
    tree = view.page.locator("#cell").aria_snapshot()
    assert 'heading "Cell 9930"' in tree
    assert "Edge 0 to 3: skip connection. Change it" in tree


def contrasts(view: Explorer) -> list[tuple[float, str]]:
    """Return the contrast of all small texts with what lies behind them, by WCAG 2."""
    return view.page.evaluate(
        """() => {
            const light = colour => {
                const [r, g, b] = colour.map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const parse = text => text.match(/[\\d.]+/g).map(Number);
            const behind = one => {
                for (; one; one = one.parentElement) {
                    const colour = parse(getComputedStyle(one).backgroundColor);
                    if (colour.length === 3) return colour;
                }
                return [255, 255, 255];
            };
            return [...document.querySelectorAll('body *')]
                .filter(one => one.offsetParent)
                .filter(one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
                .filter(one => !one.closest(':disabled, script, style'))
                .map(one => {
                    const [a, b] = [parse(getComputedStyle(one).color), behind(one)].map(light).sort((x, y) => y - x);
                    return [(a + 0.05) / (b + 0.05), one.textContent.slice(0, 40)];
                });
        }"""
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_can_be_read_in_both_themes(browser, page_file, theme):
    page = Explorer(browser, page_file, "#pareto=true&near=true&pins=9930", color_scheme=theme)
    assert [(round(ratio, 2), text) for ratio, text in contrasts(page) if ratio < 4.5] == []
    background = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", background)[0]) < 128) == (theme == "dark")
    other = {"light": "dark", "dark": "light"}[theme]
    while page.page.get_attribute("html", "data-theme") != other:
        page.page.click("#theme")
    changed = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", changed)[0]) < 128) == (other == "dark")
    assert page.faults == []
    page.context.close()


def test_a_phone_shows_the_plot_first_and_nothing_is_cut_off(phone):
    width = phone.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    plot, cell = (phone.page.locator(what).bounding_box() for what in ("#plot", "#cell"))
    assert plot["y"] + plot["height"] <= 844
    assert cell["y"] >= plot["y"] + plot["height"]
    bench = nbr.load()
    frame = bench.frame(metrics=["clean_acc", "pgd_acc"])
    worst = frame["clean_acc"].nsmallest(8).index[-1]
    at = phone.position(*frame.loc[worst, ["clean_acc", "pgd_acc"]], frame["clean_acc"], frame["pgd_acc"])
    phone.page.touchscreen.tap(*at)
    assert phone.cell() == worst
    phone.page.tap('#drawing [data-edge="0"]')
    menu = phone.page.locator("#edge-menu").bounding_box()
    assert menu["x"] >= 0
    assert menu["x"] + menu["width"] <= 390
    phone.page.tap("#edge-menu button >> nth=4")
    assert Cell.from_index(phone.cell()).operations[0] == "avg_pool_3x3"
    for tab in ("leaderboard", "compare", "landscape"):
        phone.page.tap(f"#tab-{tab}")
        assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_it_prints_in_black_on_white_without_controls(browser, page_file):
    """In a dark browser too, and the plot is as wide as the paper."""
    page = Explorer(browser, page_file, color_scheme="dark")
    page.page.evaluate(
        """() => addEventListener('beforeprint', () => {
            const shown = what => document.querySelector(what).offsetWidth;
            window.printed = { controls: shown('#controls'), plot: shown('#plot'), paper: shown('#landscape-view'),
                               ink: getComputedStyle(document.body).color };
        })"""
    )
    assert page.page.pdf(format="A4").startswith(b"%PDF")
    printed = page.page.evaluate("window.printed")
    assert printed["controls"] == 0
    assert 400 < printed["plot"] <= printed["paper"] < 720
    assert int(re.findall(r"\d+", printed["ink"])[0]) < 128
    assert page.page.is_visible("#controls")
    assert page.faults == []
    page.context.close()


# ------------------------------------------------------------------ the files behind it


def test_modules_import_those_before_them_and_all_are_used():
    modules = explorer.assembling._MODULES
    assert {path.stem for path in PAGE.glob("*.js")} == set(modules)
    for place, name in enumerate(modules):
        text = (PAGE / f"{name}.js").read_text()
        assert len(text.splitlines()) < 400
        for names, other in explorer.assembling._IMPORT.findall(text):
            assert other in modules[:place], f"{name} imports {other}, which comes later"
            given = {
                exported for _, exported in explorer.assembling._EXPORT.findall((PAGE / f"{other}.js").read_text())
            }
            wanted = {each.strip() for each in names.strip("{} ").split(",")}
            assert wanted <= given, f"{name} imports {wanted - given} of {other}"
            assert all(len(re.findall(rf"\b{each}\b", text)) > 1 for each in wanted), (
                f"{name} imports what it does not use"
            )


def test_what_is_taken_from_others_is_there_with_its_licence():
    vendor = PAGE / "vendor"
    rows = re.findall(r"^\| `.*", (vendor / "README.md").read_text(), flags=re.MULTILINE)
    listed = re.findall(r"`(\w+\.(?:min\.js|min\.css|LICENSE))`", "".join(rows))
    assert {path.name for path in vendor.iterdir()} - {"README.md", "parquet.entry.js"} == set(listed)
    assert all("Permission is hereby granted" in path.read_text() for path in vendor.glob("*.LICENSE"))

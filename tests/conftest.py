"""Fixtures: the published files where they are at hand, and a made-up release of all 6,466 classes everywhere."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the networks here are too small for more; before torch is imported

import hypothesis
import numpy as np
import pytest
from servers import Hub, serving

from nasbench_robust import cells
from nasbench_robust.datasets import DATASETS
from nasbench_robust.files import HOME_VARIABLE
from nasbench_robust.releases.importers import import_page_file
from nasbench_robust.table import Benchmark, write_table

if TYPE_CHECKING:
    from nasbench_robust.images import TensorImages

# A shell that starts the tests in the background makes them, and the programs they start, deaf to Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time: who changes nothing sees nothing fail. Other examples: HYPOTHESIS_PROFILE=default.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

ROOT = Path(__file__).parents[1]
WAITING = "test_slurm.py"  # it waits more than it works
DATA_VARIABLE = "NASBENCH_ROBUST_DATA"
PAGE_METRICS = {  # our columns by the names of the page file
    "val_acc": "clean_acc",
    **{f"val_{name}_{eps}_acc": f"{name}_acc@{eps}/255" for eps in (3, 8) for name in ("fgsm", "pgd")},
    "autoattack": "autoattack_acc@8/255",
}
PAGE_FIELDS = tuple(f"{dataset}#{metric}" for dataset in ("cifar10", "cifar100", "imagenet") for metric in PAGE_METRICS)


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker for every core, and one that waits."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits, so that it is not what all others wait for in the end."""
    items.sort(key=lambda item: item.path.name != WAITING)


class StopAt:
    """Says yes when it is asked for the n-th time."""

    def __init__(self, number: int) -> None:
        self.asked, self.number = 0, number

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked == self.number


def data_file(name: str) -> Path:
    """Return a file of the data folder, or skip the test and say why."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        pytest.skip(f"{DATA_VARIABLE} does not name a folder with the published files")
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"no {name} in the folder that {DATA_VARIABLE} names")
    return path


def run_program(name: str, *arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a program of the folder generation in a process of its own."""
    command = [sys.executable, str(ROOT / "generation" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


def read_page(path: Path) -> dict:
    """Parse a published page file without any of the package's code."""
    text = path.read_text()
    return json.loads(text[text.index("=") + 1 :])


def in_page(content: dict, field: str) -> np.ndarray:
    """Return the values that a page file has in one field, for all 15,625 cells."""
    position = content[""].index(field)
    entries = (content[str(index)] for index in range(cells.SIZE))
    return np.array([(entry if isinstance(entry, list) else content[str(entry)])[position] for entry in entries])


@pytest.fixture(scope="session")
def published_file() -> Path:
    return data_file("nas-robbench-201/NAS-RobBench-201_html.json")


@pytest.fixture(scope="session")
def standard_file() -> Path:
    return data_file("nas-robbench-201/standard-training_acc.json")


@pytest.fixture(scope="session")
def operations_file() -> Path:
    return data_file("nas-robbench-201/ops.json")


@pytest.fixture(scope="session")
def published_table(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published table, converted."""
    path = tmp_path_factory.mktemp("published") / "runs.parquet"
    write_table(import_page_file(published_file), path)
    return path


@pytest.fixture(scope="session")
def published(published_table: Path) -> Benchmark:
    return Benchmark(published_table)


def made_up_page() -> dict:
    """Return the content of a page file of all cells, with invented but orderly values on the published grid."""
    rng = np.random.default_rng(0)
    content: dict = {"": list(PAGE_FIELDS)}
    representatives = cells.representatives().tolist()
    chances = [(0.1, 10_000), (0.01, 10_000), (1 / 120, 6_000)]
    for index, representative in enumerate(representatives):
        if representative != index:
            content[str(index)] = str(representative)
            continue
        values = []
        for chance, images in chances:
            clean = chance if not cells.connected()[index] else rng.uniform(2 * chance, 0.9)
            for factor, seeds in ((1.0, 3), (0.9, 3), (0.89, 3), (0.7, 3), (0.6, 3), (0.5, 1)):
                value = clean if not cells.connected()[index] else clean * factor
                values.append(round(value * images * seeds) / (images * seeds))
        content[str(index)] = values
    return content


def write_page(content: dict, path: Path) -> Path:
    path.write_text("acc=" + json.dumps(content))
    return path


@pytest.fixture(scope="session")
def made_up_content() -> dict:
    return made_up_page()


@pytest.fixture(scope="session")
def made_up_file(made_up_content: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(made_up_content, tmp_path_factory.mktemp("page") / "page.json")


@pytest.fixture(scope="session")
def made_up_table(made_up_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made-up") / "runs.parquet"
    write_table(import_page_file(made_up_file), path)
    return path


@pytest.fixture(scope="session")
def bench(made_up_table: Path) -> Benchmark:
    return Benchmark(made_up_table)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A repository of the hub, empty yet, on this machine."""
    pytest.importorskip("huggingface_hub")
    with serving(Hub(tmp_path)) as server:
        yield server


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Image data sets have the sizes of the made-up ones, no official checksums, and a cache of their own."""
    import pictures  # needs pillow

    from nasbench_robust.images import files as image_files

    monkeypatch.delenv(image_files.IMAGES_VARIABLE, raising=False)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path_factory.mktemp("home")))
    for name in tuple(DATASETS):
        layouts = tuple(replace(layout, md5={}) for layout in DATASETS[name].layouts)
        row = replace(DATASETS[name], train_images=pictures.TRAIN, test_images=pictures.TEST, layouts=layouts)
        monkeypatch.setitem(DATASETS, name, row)


@pytest.fixture(scope="session")
def images() -> TensorImages:
    from nasbench_robust.images import load_images  # needs torch

    return load_images("digits")


@pytest.fixture(scope="session")
def first_digits(images: TensorImages) -> Callable[[int], TensorImages]:
    """Return digits with so many images to train on, and with a few of the other splits."""

    def first(count: int) -> TensorImages:
        return replace(images, train=images.train[:count], test=images.test[:60], validation=images.validation[:40])

    return first


@pytest.fixture
def load_program(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return a function that imports a program, ``"benchmarks/query"`` say; it and its neighbours are forgotten."""

    def load(name: str) -> ModuleType:
        path = ROOT / name
        monkeypatch.syspath_prepend(str(path.parent))
        for neighbour in path.parent.glob("*.py"):
            monkeypatch.setitem(sys.modules, neighbour.stem, None)
            del sys.modules[neighbour.stem]
        return importlib.import_module(path.name)

    return load

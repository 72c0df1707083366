"""Training in the native engine: draws, initial weights, schedule, the trainer, whole runs and the programs."""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_program
from native_twins import DIGITS, SKELETONS, cells_to_compare, needs_engine, torch_twin, trained
from run_folders import rows_in

import nasbench_robust as nbr
from nasbench_robust import metrics
from nasbench_robust.cells import Cell
from nasbench_robust.engines import STREAMS, Draws
from nasbench_robust.engines.native import NativeTrainer, evaluate, initial_weights
from nasbench_robust.engines.native import training as native_training
from nasbench_robust.engines.native.engine import GENERATION
from nasbench_robust.engines.native.training import one_cycle
from nasbench_robust.errors import InvalidValueError, TrainingDivergedError, UnknownNameError
from nasbench_robust.images import ArrayImages, Split, load_arrays
from nasbench_robust.metrics import Metric
from nasbench_robust.networks import Network
from nasbench_robust.runs import Run, part_name, release_info, run_cell, write_run
from nasbench_robust.table import runs_schema

pytestmark = needs_engine

CELL = Cell.from_index(9930)
QUICK = replace(
    DIGITS,
    epochs=2,
    attack=metrics.pgd(0.1, steps=2),
    evaluation=(metrics.fgsm(0.1), metrics.pgd(0.1, steps=3), replace(metrics.autoattack(0.1, steps=3), queries=50)),
)


@pytest.fixture(scope="module")
def few() -> ArrayImages:
    """The first 250 training images, 60 of test and 40 of validation: batches of 32 and a short one."""
    images = load_arrays("digits")
    return replace(images, train=images.train[:250], test=images.test[:60], validation=images.validation[:40])


@pytest.fixture(scope="module")
def run() -> Run:
    return run_cell(CELL, QUICK, load_arrays("digits"), seed=2, engine="native")


# --- draws


@pytest.mark.parametrize(
    ("stream", "seed", "floats", "integers", "order"),
    [
        ("weights", 5874934615388537135, [-0.4604267, -0.91805303, -0.9669448], "896759", "135402"),
        ("training", 8206391887579712274, [0.11427605, 0.60181606, 0.9130275], "027076", "015234"),
        ("evaluation", 8254666551148276175, [0.7208288, -0.35725045, -0.36625087], "263701", "351240"),
    ],
)
def test_draws_are_what_they_always_were(stream, seed, floats, integers, order):
    """A change here would make another table of equal settings and seeds."""
    draws = Draws(0, stream)
    assert draws.seed() == seed
    assert draws.uniform(-1, 1, (3,)).tolist() == np.float32(floats).tolist()
    assert "".join(map(str, draws.integers(10, (6,)))) == integers
    assert "".join(map(str, draws.permutation(6))) == order


def test_draws_lie_in_their_ranges():
    draws = Draws(1, "training")
    floats = draws.uniform(-0.1, 0.1, (100_000,))
    assert floats.dtype == np.float32
    assert floats.min() >= np.float32(-0.1)
    assert floats.max() < np.float32(0.1)
    assert floats.mean() == pytest.approx(0, abs=1e-3)
    assert floats.std() == pytest.approx(0.2 / 12**0.5, rel=0.01)
    for end in (1, 2, 3, 5, 9, 1000):
        integers = draws.integers(end, (20 * end + 2000,))
        assert set(integers.tolist()) <= set(range(end))
        assert len(set(integers.tolist())) > 0.99 * end
    assert sorted(draws.permutation(1000).tolist()) == list(range(1000))
    assert 0 <= draws.seed() < 2**63


@pytest.mark.parametrize("end", [1, 2, 3, 5, 7, 9, 10, 1000, 65537])
def test_largest_draw_stays_below_the_end(end):
    draws = Draws(0, "training")

    class Largest:
        def random_raw(self, count: int) -> np.ndarray:
            return np.full(count, 2**64 - 1, np.uint64)

    draws._bits = Largest()
    assert draws.integers(end, (3,)).tolist() == [end - 1] * 3
    for high in (1.0, 0.1, 8 / 255):
        assert draws.uniform(-high, high, (1,))[0] < np.float32(high)


def test_streams_of_seeds_and_purposes_differ():
    first = {Draws(seed, stream).seed() for seed in range(20) for stream in STREAMS}
    assert len(first) == 20 * len(STREAMS)


# --- initial weights and schedule


@pytest.mark.parametrize("skeleton", SKELETONS, ids=str)
def test_initial_weights_are_in_the_order_and_distribution_of_torch(skeleton):
    for cell in cells_to_compare(5):
        parameters, statistics = initial_weights(cell, skeleton, Draws(0, "weights"))
        mean = [0.0] * skeleton.input_channels
        network = Network(cell, skeleton, mean=mean, std=mean, generator=torch.Generator().manual_seed(1))
        start = 0
        for tensor in network.parameters():
            ours, theirs = parameters[start : start + tensor.numel()], tensor.detach().numpy().ravel()
            start += tensor.numel()
            if np.ptp(theirs) == 0 and len(theirs) > 1:  # scales and shifts
                assert np.array_equal(ours, theirs)
            elif len(theirs) >= 200:
                assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.05)
                assert ours.std() == pytest.approx(theirs.std(), rel=0.2)
        assert start == len(parameters) == cell.parameters(skeleton)
        running = [buffer.numpy() for name, buffer in network.named_buffers() if "running" in name]
        assert np.array_equal(statistics, np.concatenate(running))


@pytest.mark.parametrize("max_lr", [0.1, 1.0, 3e-4])
def test_schedule_is_that_of_torch(max_lr):
    for steps in (*range(1, 41), 99, 640):
        rates, momenta = one_cycle(max_lr, steps)
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=max_lr, momentum=0.9)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=max_lr, total_steps=steps)
        for step in range(steps):
            group = optimiser.param_groups[0]
            # Equal to the last bit where NumPy's cosine is the C library's, which depends on the processor.
            assert rates[step] == pytest.approx(group["lr"], rel=1e-14, abs=0)
            assert momenta[step] == pytest.approx(group["momentum"], rel=1e-14, abs=0)
            optimiser.step()
            if step < steps - 1:
                schedule.step()


# --- the trainer


class Noted:
    """Notes what a trainer asks its network for, and makes up the losses."""

    def __init__(self, trainer: NativeTrainer) -> None:
        self.calls: list[str] = []
        self.updates: list[tuple[float, ...]] = []
        network = trainer.network
        for name in ("fold", "pgd", "differentiate", "update"):
            monkey = getattr(network, name)
            setattr(network, name, functools.partial(self._note, name, monkey))

    def _note(self, name: str, original, *arguments, **options):
        self.calls.append(name)
        if name == "update":
            self.updates.append(arguments)
        result = original(*arguments, **options)
        return (float(len(self.updates) + 1), 1) if name == "differentiate" else result


def test_every_step_folds_attacks_and_updates_at_its_rate_and_momentum(few, monkeypatch):
    trainer, states = NativeTrainer(CELL, QUICK, few, 4), []
    noted, measured = Noted(trainer), native_training.measure

    def watched(network, images, metric, draws, done):
        states.append(draws.state)
        return measured(network, images, metric, draws, done)

    monkeypatch.setattr(native_training, "measure", watched)
    while not trainer.finished:
        trainer.step()
    steps = ["fold", "pgd", "differentiate", "update"]
    assert noted.calls[:32] == steps * 8  # of the first epoch
    rates, momenta = one_cycle(QUICK.max_lr, 16)
    expected = [(rate, momentum, QUICK.weight_decay) for rate, momentum in zip(rates, momenta, strict=True)]
    assert noted.updates == expected
    # The losses are 1 to 16; the last of eight batches has 26 images of 250.
    for epoch, first in zip(trainer.curve, (1, 9), strict=True):
        assert epoch.train_loss == pytest.approx((32 * sum(range(first, first + 7)) + 26 * (first + 7)) / 250)
        assert epoch.train_acc == pytest.approx(8 / 250)
    assert states == [Draws(4, "curve").state] * 4


def test_training_learns_to_resist_the_attack():
    images = load_arrays("digits")
    trainer = trained(replace(DIGITS, epochs=8), images)
    curve = trainer.curve
    assert [epoch.epoch for epoch in curve] == list(range(1, 9))
    assert curve[-1].train_loss < 0.7 * curve[0].train_loss
    assert curve[-1].clean_acc > 0.8
    assert curve[-1].pgd_acc > 0.5
    pixels, labels = images.held_out("validation")
    assert curve[-1].clean_acc == (trainer.network.logits(pixels).argmax(axis=1) == labels).mean()
    assert trainer.seconds > 0


def test_trained_network_is_the_same_in_torch(few):
    trainer = trained(QUICK, few)
    with torch.no_grad():
        expected = torch_twin(trainer.network, QUICK)(torch.from_numpy(few.test.pixels).double()).numpy()
    np.testing.assert_allclose(trainer.network.logits(few.test.pixels), expected, atol=1e-5 * np.abs(expected).max())


DIGEST = """
import hashlib, sys
sys.path[:0] = sys.argv[1:]
import test_native_training as tests
arrays = tests.load_arrays("digits")
network = tests.trained(tests.QUICK, arrays, seed=5).network
print(hashlib.sha256(network.parameters.tobytes() + network.statistics.tobytes()).hexdigest())
"""


def test_equal_seeds_give_equal_bits_in_another_process():
    network = trained(QUICK, load_arrays("digits"), 5).network
    here = hashlib.sha256(network.parameters.tobytes() + network.statistics.tobytes()).hexdigest()
    command = [sys.executable, "-c", DIGEST, *map(str, Path(__file__).parents[:2])]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == here


@pytest.mark.parametrize("max_lr", [1e3, 1e6])
def test_divergence_is_an_error_and_no_number(few, max_lr):
    with pytest.raises(TrainingDivergedError, match="the training loss is not finite in epoch"):
        trained(replace(QUICK, max_lr=max_lr, epochs=4), few)


def test_no_network_with_lost_weights_is_taken_for_trained():
    """A ReLU that makes 0 of NaN would hide that from the loss."""
    images, lost = load_arrays("digits"), 0
    for index, max_lr in ((14822, 493.5), (12932, 1579.0), (15025, 1461.9), (7344, 3608.5)):
        try:
            trainer = trained(replace(DIGITS, epochs=2, max_lr=max_lr), images, cell=Cell.from_index(index))
        except TrainingDivergedError:
            lost += 1
        else:
            assert np.isfinite(trainer.network.parameters).all()
    assert lost > 0


def test_images_that_are_not_finite_are_refused(few):
    broken = few.train.pixels.copy()
    broken[7, 0, 0, 0] = np.nan
    with pytest.raises(InvalidValueError, match=r"train images is 'nan..nan'"):
        trained(QUICK, replace(few, train=Split(broken, few.train.labels)))


def test_flips_and_no_padding_are_other_trainings(few):
    flat = trained(replace(QUICK, crop_padding=0), few).network.parameters
    flipped = trained(replace(QUICK, crop_padding=0, flip=True), few).network.parameters
    assert not np.array_equal(flat, flipped)
    assert np.isfinite(flipped).all()


# --- evaluation


def test_evaluation_measures_the_split_that_it_names(few):
    network = trained(QUICK, few).network
    for metric in QUICK.metrics:
        found = evaluate(network, few, metric, Draws(0, "evaluation"))
        assert len(found) == (60 if metric.split == "test" else 40)
        assert found.dtype == bool
        if metric.attack is not None:
            clean = evaluate(network, few, Metric("clean_acc", split=metric.split), Draws(0, "evaluation"))
            assert found.sum() <= clean.sum()


def test_attack_that_the_engine_does_not_have_is_named(few):
    network = trained(QUICK, few).network
    with pytest.raises(UnknownNameError, match="attack of the native engine 'pgd L2'"):
        evaluate(network, few, Metric.of(metrics.pgd(0.5, norm="L2")), Draws(0, "evaluation"))


# --- whole runs


def test_row_is_complete_and_valid(run, tmp_path):
    write_run(run, QUICK, tmp_path)
    assert [finding.kind for finding in nbr.validate(tmp_path)] == ["missing"]  # the other cells
    (row,) = rows_in(tmp_path)
    schema = runs_schema(release_info(QUICK)).names
    assert {name for name in schema if row[name] is None} <= {"failure", "release", "gpu_seconds", "revision"}
    assert row["engine"] == "native"
    assert row["versions"].startswith("nasbench-robust ")
    assert f"native engine {GENERATION} for " in row["versions"]
    assert nbr.load(tmp_path).query(CELL, metric="autoattack_acc") == row["autoattack_acc@0.1"]
    for metric in QUICK.metrics:
        images = 517 if metric.split == "test" else 256
        assert row[metric.column] == row[metric.count_column] / images == run.outcomes[metric].mean()
    attack = next(metric for metric in QUICK.metrics if metric.name == "autoattack_acc")
    assert list(run.parts) == [part_name(attack, part) for part in metrics.PARTS]
    assert np.array_equal(run.parts[part_name(attack, "square")], run.outcomes[attack])
    assert len(run.curve) == 2


def test_engine_lets_other_threads_run():
    """Another thread counts on while the engine is inside one long call."""
    native = trained(QUICK, load_arrays("digits")).network
    images = np.repeat(load_arrays("digits").test.pixels, 40, axis=0)
    entered, done, ticks = threading.Event(), threading.Event(), []

    def count() -> None:
        entered.set()
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    entered.wait()
    start = time.perf_counter()
    native.logits_and_gradient(images, np.ones((len(images), 10), np.float32))
    end = time.perf_counter()
    done.set()
    thread.join()
    third = (end - start) / 3
    assert [tick for tick in ticks if start + third < tick < end - third]


# --- the programs


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    evaluation = [asdict(attack) for attack in QUICK.evaluation]
    path.write_text(json.dumps({"epochs": 1, "attack": {"steps": 1}, "evaluation": evaluation}))
    return path


@pytest.mark.parametrize(("given", "used"), [("auto", "native"), ("native", "native"), ("torch", "torch")])
def test_program_takes_the_engine_it_is_told(given, used, settings_file, tmp_path):
    arguments = ("--index", 3, "--settings", settings_file, "--out", tmp_path / "out", "--engine", given)
    done = run_program("train_cell.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert [row["engine"] for row in rows_in(tmp_path / "out")] == [used]
    assert not list((tmp_path / "out").glob("checkpoints/*"))


@pytest.mark.parametrize("name", ["train_cell.py", "run_local.py", "submit.py"])
def test_program_refuses_an_engine_that_is_none(name, tmp_path):
    what = ("--index", 3) if name == "train_cell.py" else ("--cells", 3)
    done = run_program(name, *what, "--out", tmp_path / "out", "--engine", "nativ")
    assert done.returncode == 2
    assert "nativ'" in done.stderr
    assert "native" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob("runs/*"))

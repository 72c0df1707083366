"""The first ten minutes on a GPU: does every path work, what is each worth, what limits it. One command, one table.

Every part is caught: what fails is a row with the error, and the rest goes on; what no time is left for is a row too.
Nothing is fetched, and neither scikit-learn nor torchattacks is needed. Run, and keep the table in benchmarks/results:
``python benchmarks/first_gpu.py --device cuda --out FILE``. With ``--data-root ROOT`` a light CIFAR-10 cell is trained
in the time that is left; ``--quick`` takes tiny sizes, on a CPU too, to try out the program.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from example_cells import CELLS
from machine import describe, parse_arguments, publish, wait
from pixels import random_images

from nasbench_robust import metrics
from nasbench_robust.attacks import repeating, square
from nasbench_robust.cells import Cell
from nasbench_robust.cli.command import positive
from nasbench_robust.engines import ENGINES, engine_named
from nasbench_robust.engines.torch import GraphedTrainer, Trainer, made_on, make_generator
from nasbench_robust.engines.torch.playback import played_back
from nasbench_robust.images import TensorImages, load_images, pinned_float32, to_unit
from nasbench_robust.networks import network_for
from nasbench_robust.networks.fast import BatchNetwork
from nasbench_robust.settings import TrainingSettings, settings_for

Row = tuple[str, object]  # what was looked at, and what was found
WARM_UP = 5  # steps; a graph is captured in the fourth


@dataclass(frozen=True)
class Plan:
    """What is done, and how much of it."""

    device: str
    data_root: str | None
    end: float  # of the time
    settings: TrainingSettings = field(default_factory=lambda: settings_for("cifar10"))  # of steps
    cells: tuple[str, ...] = tuple(CELLS)
    steps: int = 20
    epochs: int = 6  # of digits

    @property
    def batch(self) -> int:
        """Images of a step."""
        return self.settings.batch_size

    @property
    def engines(self) -> list[str]:
        """Those of torch that the device has."""
        others = [name for name in ENGINES if name != "native"]
        return [name for name in others if engine_named(name).refuses(self.settings, self.device) is None]

    @property
    def graphs(self) -> list[str]:
        """Those of them with graphs."""
        return [name for name in self.engines if ENGINES[name].graph]

    def images(self, batches: int) -> TensorImages:
        """Return random pixels of the shape of CIFAR-10, so many batches and one more, so that no epoch ends."""
        return random_images(self.settings, batches + 1, self.device)

    def trainer(self, engine: str, cell: str, steps: int) -> Trainer:
        """Return the training of one of the cells, which can take so many steps."""
        return engine_named(engine).trainer(Cell.from_str(CELLS[cell]), self.settings, self.images(steps), 0)

    def seconds(self, work: Callable[[], object], repeats: int = 0) -> float:
        """Return what a call takes, of many one behind the other."""
        for _ in range(WARM_UP):
            work()
        wait(self.device)
        start = time.perf_counter()
        for _ in range(repeats or self.steps):
            work()
        wait(self.device)
        return (time.perf_counter() - start) / (repeats or self.steps)


def machine(plan: Plan) -> Iterator[Row]:
    """Say what the device is, and measure its ceilings."""
    yield "versions", made_on(torch.device(plan.device))["versions"]
    draws = make_generator(0, "training", plan.device)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=draws, device=plan.device)

    values = drawn(plan.batch * 2**20)
    target = torch.empty_like(values)
    yield "copy, GB/s", round(2 * values.nbytes / plan.seconds(lambda: target.copy_(values)) / 1e9, 1)
    side = 16 * plan.batch
    for kind, dtype, tf32 in (
        *(("float32", torch.float32, False), ("TF32", torch.float32, True)),
        ("bfloat16", torch.bfloat16, False),
    ):
        with pinned_float32(tf32=tf32):
            matrix = drawn(side, side).to(dtype)
            rate = 2 * side**3 / plan.seconds(lambda matrix=matrix: matrix @ matrix, 5)
            yield f"product of matrices, {kind}, TFLOP/s", f"{rate / 1e12:.2f}"
            shapes = (plan.batch, 16, 32, 32), (16, 16, 3, 3)
            pixels, weight = (drawn(*shape).to(dtype, memory_format=torch.channels_last) for shape in shapes)
            rate = (
                2 * plan.batch * 32**2 * 9 * 16**2 / plan.seconds(lambda x=pixels, w=weight: F.conv2d(x, w, padding=1))
            )
            yield f"convolution 3x3, 16 channels, {kind}, TFLOP/s", f"{rate / 1e12:.2f}"


def gradients(plan: Plan) -> Iterator[Row]:
    """Compare those of one update with float64 on the CPU."""
    noise = torch.rand(32, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    # Smooth images: of noise all look alike behind the pooling, and the gradient has no digits left.
    images, labels = F.interpolate(noise, 32, mode="bicubic").clamp(0, 1), torch.arange(32) % 10
    for label in plan.cells:

        def gradient(device: str, dtype: torch.dtype, wrap: Callable, label: str = label) -> torch.Tensor:
            cell, skeleton = Cell.from_str(CELLS[label]), plan.settings.skeleton
            network = network_for(cell, skeleton, "cifar10", make_generator(0, "weights")).to(device, dtype).train()
            F.cross_entropy(wrap(network)(images.to(device, dtype)), labels.to(device)).backward()
            found = [torch.zeros_like(each) if each.grad is None else each.grad for each in network.parameters()]
            return torch.cat([each.flatten() for each in found]).double().cpu()

        exact = gradient("cpu", torch.float64, lambda network: network)
        for tf32 in (False, True):
            for name, wrap in (
                ("plain", lambda network: network),
                ("fast", BatchNetwork),
                ("bf16", lambda network: BatchNetwork(network, torch.bfloat16)),
            ):
                with pinned_float32(tf32=tf32):
                    off = (gradient(plan.device, torch.float32, wrap) - exact).norm() / exact.norm()
                yield f"{label}, {name}{', TF32' if tf32 else ''}: relative error", f"{off:.1e}"


def waiting(plan: Plan) -> Iterator[Row]:
    """Take steps that must not wait for the device: torch raises where they do."""
    for engine in plan.engines:
        trainer = plan.trainer(engine, plan.cells[-1], WARM_UP + 2)
        for _ in range(WARM_UP):
            trainer.step()
        if plan.device != "cpu":
            torch.cuda.set_sync_debug_mode("error")
        try:
            trainer.step()
            yield engine, "does not wait"
        finally:
            if plan.device != "cpu":
                torch.cuda.set_sync_debug_mode("default")


def repeats(plan: Plan) -> Iterator[Row]:
    """Take the same steps twice, and by a graph as without."""

    def after(engine: str, eager: bool = False) -> tuple[torch.Tensor, bool]:
        trainer = plan.trainer(engine, plan.cells[-1], WARM_UP + 3)
        for _ in range(WARM_UP + 3):
            if eager:
                trainer._play._left = 1
            trainer.step()
        played = isinstance(trainer, GraphedTrainer) and bool(trainer._play.is_played)
        return torch.cat([each.detach().flatten() for each in trainer.network.parameters()]), played

    for engine in plan.engines:
        (one, played), (other, _) = after(engine), after(engine)
        yield f"{engine}, twice: largest difference", float((one - other).abs().max())
        if ENGINES[engine].graph:
            yield f"{engine}: the graph was taken", played
            yield (
                f"{engine} and its steps without a graph: largest difference",
                float((one - after(engine, eager=True)[0]).abs().max()),
            )


def steps(plan: Plan) -> Iterator[Row]:
    """Time steps by cell and engine, with the peak of memory."""
    for cell in plan.cells:
        for engine in plan.engines:
            trainer = plan.trainer(engine, cell, WARM_UP + plan.steps)
            if plan.device != "cpu":
                torch.cuda.reset_peak_memory_stats()
            took = plan.seconds(trainer.step)
            peak = "" if plan.device == "cpu" else f", {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"
            yield f"{cell}, {engine}: ms a step", f"{1e3 * took:.2f}, {plan.batch / took:.0f} images/s{peak}"


def measuring(plan: Plan) -> Iterator[Row]:
    """Time a batch of the curve and queries of Square, as graphs and without; what they find is to be the same."""
    attack = replace(metrics.autoattack(8 / 255), queries=WARM_UP * plan.steps).part("square")
    for cell in plan.cells:
        points = []
        for engine in ("torch-fast", *plan.graphs[:1]):
            trainer, draws = plan.trainer(engine, cell, 1), make_generator(0, "curve", plan.device)
            network, (pixels, labels) = trainer.measured(), trainer.images.held_out(plan.settings.curve_split)[:1000]
            batch = network, plan.settings.attack, pixels, labels, draws
            with pinned_float32():
                took = plan.seconds(lambda trainer=trainer, batch=batch: trainer._judge(*batch), 3)
            yield f"{cell}, {engine}: ms a batch of the curve, {len(labels)} images", f"{1e3 * took:.2f}"
            with torch.no_grad(), pinned_float32():
                labels = network(pixels := to_unit(pixels)).argmax(dim=1)
            with repeating(played_back) if ENGINES[engine].graph else nullcontext():
                wait(plan.device)
                start = time.perf_counter()
                points.append(square(network, pixels, labels, attack, make_generator(0, "evaluation", plan.device)))
                wait(plan.device)
            took = (time.perf_counter() - start) / attack.queries
            yield f"{cell}, {engine}: ms a query of Square, as far as images are left", f"{1e3 * took:.2f}"
        yield f"{cell}: pixels that Square sets otherwise in a graph", int((points[0] != points[-1]).sum())


def freedom(plan: Plan) -> Iterator[Row]:
    """Measure what deterministic convolutions cost."""
    for cell in plan.cells:
        for engine in (plan.graphs or plan.engines)[:1]:
            for name, options in (
                *(("deterministic", (True, False)), ("free", (False, False))),
                ("free, chosen by their times", (False, True)),
            ):
                trainer = plan.trainer(engine, cell, 1)
                with pinned_float32():
                    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = options
                    chosen = torch.arange(plan.batch, device=plan.device)
                    took = plan.seconds(lambda trainer=trainer, chosen=chosen: trainer._descend(chosen))
                yield f"{cell}, {engine}, {name}: ms a step", f"{1e3 * took:.2f}"


def kernels(plan: Plan) -> Iterator[Row]:
    """Count what a step launches, and find what takes longest."""
    from torch.profiler import ProfilerActivity, profile

    on = ProfilerActivity.CPU if plan.device == "cpu" else ProfilerActivity.CUDA
    for cell in plan.cells:
        trainer = plan.trainer((plan.graphs or plan.engines)[0], cell, WARM_UP + 2)
        for _ in range(WARM_UP):
            trainer.step()
        wait(plan.device)
        with profile(activities=[on]) as seen:
            trainer.step()
            wait(plan.device)
        ran = [each for each in seen.key_averages() if each.self_device_time_total > 0]
        count, total = sum(each.count for each in ran), sum(each.self_device_time_total for each in ran)
        yield f"{cell}: kernels, their ms", f"{count}, {total / 1e3:.2f}"
        for each in sorted(ran, key=lambda each: -each.self_device_time_total)[:5]:
            yield f"{cell}: us in {each.count} of `{each.key[:60]}`", round(each.self_device_time_total)


def beside(plan: Plan) -> Iterator[Row]:
    """Take steps of several runs of one process, each on a stream of its own."""
    for cell in plan.cells if plan.device != "cpu" else ():
        for many in (1, 2, 4):
            trainers = [plan.trainer(plan.graphs[0], cell, WARM_UP + plan.steps) for _ in range(many)]
            for trainer in trainers:
                for _ in range(WARM_UP):
                    trainer.step()
            streams = [torch.cuda.Stream() for _ in trainers]
            wait(plan.device)
            start = time.perf_counter()
            for _ in range(plan.steps):
                for trainer, stream in zip(trainers, streams, strict=True):
                    with torch.cuda.stream(stream):
                        trainer.step()
            wait(plan.device)
            yield f"{cell}, {many} at once: steps/s", round(many * plan.steps / (time.perf_counter() - start), 1)


def digits(plan: Plan) -> Iterator[Row]:
    """Make whole runs by every engine, AutoAttack included; accuracies are to agree within the noise of seeds."""
    from nasbench_robust.runs import run_cell

    few = plan.epochs == 1
    images = load_images("digits", plan.device)
    if few:
        images = replace(images, train=images.train[:160], test=images.test[:16], validation=images.validation[:16])
    auto = replace(metrics.autoattack(0.1, steps=2 if few else 10), queries=20 if few else 500)
    settings = replace(settings_for("digits"), epochs=plan.epochs, evaluation=(metrics.pgd(0.1), auto))
    for engine in plan.engines:
        row = run_cell(Cell.from_index(9930), settings, images, 0, engine=engine).row
        names = ("clean_acc", "pgd_acc@0.1", "autoattack_acc@0.1", "train_seconds", "eval_seconds")
        yield f"{engine}: clean, PGD-20, AutoAttack; s", ", ".join(f"{row[name]:.3f}" for name in names)


def scores(plan: Plan) -> Iterator[Row]:
    """Compare kernels and proxies with those of the CPU, and take steps of searches."""
    from nasbench_robust import ntk, proxies
    from nasbench_robust.search.supernet import METHODS, BilevelSearch, search_settings_for

    images, skeleton = load_images("digits"), settings_for("digits").skeleton
    x, y = images.train.pixels[:16], images.train.labels[:16]
    network, there = (
        network_for(Cell.from_index(9930), skeleton, "digits", make_generator(0, "weights")) for _ in "12"
    )
    there = there.to(plan.device)
    for bn in ntk.BN_MODES:
        exact = ntk.ntk(network, x, output="sum", bn=bn, precision="fp64", engine="torch")
        for precision in ntk.PRECISIONS:
            found = ntk.ntk(there, x.to(plan.device), output="sum", bn=bn, precision=precision, engine="torch").cpu()
            yield f"kernel, {bn}, {precision}: relative error", f"{(found - exact).norm() / exact.norm():.1e}"
    for name in proxies.PROXIES:
        draws = [make_generator(0, "scores", device) for device in ("cpu", plan.device)]
        here = proxies.score(network, x, y, name, draws[0])
        found = proxies.score(there, x.to(plan.device), y.to(plan.device), name, draws[1])
        yield f"proxy {name}: on the CPU, here", f"{here:.6g}, {found:.6g}"
    on_device = images.to(plan.device)
    for method in METHODS if plan.epochs > 1 else ("darts",):
        search = BilevelSearch(search_settings_for("digits", method), on_device, 0)
        yield f"search {method}: ms a step", f"{1e3 * plan.seconds(search.step, 2):.1f}"


def cifar10(plan: Plan) -> Iterator[Row]:
    """Train the light cell by the published protocol, as far as the time goes."""
    if plan.data_root is None:
        yield "light cell", "left out: no --data-root"
        return
    images = load_images("cifar10", plan.device, plan.data_root)
    engine = (plan.graphs or plan.engines)[0]
    trainer = engine_named(engine).trainer(Cell.from_str(CELLS["light"]), settings_for("cifar10"), images, 0)
    while not trainer.finished and time.monotonic() < plan.end:
        epoch = trainer.step()
        if epoch is not None:
            found = f"{epoch.train_loss:.4f}, {epoch.clean_acc:.4f}, {epoch.pgd_acc:.4f}, {trainer.seconds:.0f}"
            yield f"light, epoch {epoch.epoch}: loss, clean, PGD-7; s so far", found


PARTS = (machine, gradients, waiting, repeats, steps, measuring, freedom, kernels, beside, digits, scores, cifar10)


def table(plan: Plan) -> Iterator[str]:
    """Yield the lines of the table as they are found."""
    yield f"The first minutes on {describe(plan.device)}, batches of {plan.batch}\n"
    yield "| part | what | found |\n|---|---|---|"
    for part in PARTS:
        start = time.monotonic()
        if start > plan.end:
            yield f"| {part.__name__} | | no time left |"
            continue
        try:
            for what, found in part(plan):
                yield f"| {part.__name__} | {what} | {found} |"
        except Exception as error:  # whatever a driver says, the next part may work
            traceback.print_exc()
            text = " ".join(str(error).split())[:200].replace("|", "/")
            yield f"| {part.__name__} | **failed** | {type(error).__name__}: {text} |"
        yield f"| {part.__name__} | s | {time.monotonic() - start:.1f} |"


def quick(plan: Plan) -> Plan:
    """Return a plan of tiny sizes: every part does what it does, and no time means anything."""
    published = plan.settings
    skeleton = replace(published.skeleton, channels=2, cells_per_stage=1)
    settings = replace(published, skeleton=skeleton, batch_size=4, attack=metrics.pgd(8 / 255, steps=1))
    return replace(plan, settings=settings, cells=("light",), steps=1, epochs=1)


def main() -> int:
    """Print the table; the exit code is 1 if a part failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=positive, default=10, help="no part begins later (default: 10)")
    parser.add_argument("--data-root", metavar="ROOT", help="folder of CIFAR-10")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table to a file too")
    args = parse_arguments(parser)
    plan = Plan(args.device, args.data_root, time.monotonic() + 60 * args.minutes)
    plan = quick(plan) if args.quick else plan
    torch.set_num_threads(1)
    failed = []

    def lines() -> Iterator[str]:
        for line in table(plan):
            failed.extend([line] if "**failed**" in line else [])
            yield line

    publish(lines(), args.out)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())

"""Adversarially train one cell, measure it, and write the rows: ``python generation/train_cell.py --index 1234``.

Rows go to shards under --out, one per cell and seed; a run that is there already is not made again. Read the folder
back with ``nasbench_robust.load(OUT)``.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nasbench_robust.errors import MissingPackageError, NasbenchRobustError


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the cell that the arguments name and return the exit code."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return _train(args)
    except NasbenchRobustError as error:
        print(f"train_cell.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"train_cell.py: {error.filename or args.out}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--index", type=int, required=True, help="index of the cell, 0 to 15624")
    parser.add_argument(
        "--dataset", default="digits", help="digits (default), cifar10, cifar100 or ImageNet16-120: images to train on"
    )
    parser.add_argument(
        "--data-root",
        metavar="ROOT",
        help="folder of the images, or hub:owner/name (default: the folder that NASBENCH_ROBUST_IMAGES names); "
        "digits need none",
    )
    parser.add_argument("--seeds", type=_seed, nargs="+", default=[0], metavar="SEED", help="one run each (default: 0)")
    parser.add_argument("--out", required=True, help="folder for the shards")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1); results depend on it")
    return parser


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < 2**31:
        raise argparse.ArgumentTypeError("a seed lies in 0..2147483647")
    return seed


def _train(args: argparse.Namespace) -> int:
    try:
        import torch
        from tqdm import tqdm
    except ImportError as error:
        raise MissingPackageError(error.name or "torch", "train") from None
    from nasbench_robust.cells import Cell
    from nasbench_robust.images import load_images
    from nasbench_robust.runs import is_done, run_cell, write_run
    from nasbench_robust.settings import settings_for
    from nasbench_robust.training import Epoch

    _check_folder(Path(args.out))
    torch.set_num_threads(max(1, args.threads))
    cell = Cell.from_index(args.index)
    images = load_images(args.dataset, args.device, args.data_root)
    settings = settings_for(args.dataset)
    for seed in args.seeds:
        if is_done(args.out, settings, cell, seed):
            print(f"cell {cell.index}, seed {seed}: already in {args.out}")
            continue
        label = f"cell {cell.index}, seed {seed}"
        with tqdm(total=settings.epochs, desc=label, unit="epoch", disable=None) as bar:

            def show(epoch: Epoch, bar: tqdm = bar) -> None:
                shown = {"loss": epoch.train_loss, "clean": epoch.clean_acc, "pgd": epoch.pgd_acc}
                bar.set_postfix({name: f"{value:.3f}" for name, value in shown.items()})
                bar.update()

            run = run_cell(cell, settings, images, seed, progress=show)
        path = write_run(run, settings, args.out)
        print(f"{label}: {run.row.get('failure') or _summary(run.row)} -> {path}")
    return 0


def _check_folder(folder: Path) -> None:
    """Find out before the training, not after it, that the rows cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _summary(row: dict[str, Any]) -> str:
    measured = {name: value for name, value in row.items() if "_acc" in name}
    return ", ".join(f"{name} {value:.4f}" for name, value in measured.items())


if __name__ == "__main__":
    sys.exit(main())

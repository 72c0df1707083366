"""Search a cell in a supernet: ``python generation/search_supernet.py --method arnas-s --dataset digits --out DIR``.

One JSON record per seed goes to --out: the architecture parameters of every epoch, what was found and, where one cell
is searched, one-shot scores of a sample of cells. A search that is there is not made again, and one that was
interrupted goes on from its checkpoint. SIGTERM and SIGUSR1 make the program checkpoint and exit with code 75. What a
search of several cells found is trained by train_genotype.py.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import seed
from train_cell import EXIT_REQUEUE, Signals

from nasbench_robust.errors import MissingPackageError
from nasbench_robust.programs import guarded, positive
from nasbench_robust.runs import claim


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the searches that the arguments name and return the exit code."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    return guarded("search_supernet.py", lambda: _search(args), args.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--method", default="darts", help="darts (default), gdas, rnas-like-v1, arnas-s, ...")
    parser.add_argument(
        "--space", default="cell", help="cell (default), two-cells (stages 1 and 2, stage 3) or arnas (its own space)"
    )
    parser.add_argument("--dataset", default="digits", help="images to search on (default: digits)")
    parser.add_argument("--seeds", type=seed, nargs="+", default=[0], metavar="SEED", help="default: 0")
    parser.add_argument("--strength", type=float, help="weight of the method's second term (default: the method's)")
    parser.add_argument("--order", type=int, help="1, or 2 to look one step ahead (default: the method's)")
    parser.add_argument("--settings", help="TOML or JSON file that overrides settings of the data set's search")
    parser.add_argument("--out", required=True, help="folder of the records")
    parser.add_argument("--data-root", metavar="ROOT", help="folder of the images, or hub:owner/name")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads (default: 1)")
    return parser


def _search(args: argparse.Namespace) -> int:
    signals = Signals()
    try:
        import torch
    except ImportError as error:
        raise MissingPackageError(error.name or "torch", "search") from None
    from nasbench_robust.images import load_images

    settings = _settings(args)
    torch.set_num_threads(args.threads)
    images = load_images(settings.dataset, args.device, args.data_root)
    return 0 if all(_make(settings, images, seed, args.out, signals) for seed in args.seeds) else EXIT_REQUEUE


def _settings(args: argparse.Namespace) -> Any:
    from nasbench_robust.search.supernet import search_settings_for
    from nasbench_robust.settings import read_settings

    changes = {name: getattr(args, name) for name in ("strength", "order") if getattr(args, name) is not None}
    settings = search_settings_for(args.dataset, args.method, args.space, **changes)
    return read_settings(args.settings, settings) if args.settings else settings


def _make(settings: Any, images: Any, seed: int, folder: str, signals: Signals) -> bool:
    """Make one search, unless it is there or another process is at it; return False if it was asked to stop."""
    from tqdm import tqdm

    from nasbench_robust.errors import RunInterruptedError
    from nasbench_robust.search.supernet import record_name, run_search, write_search

    name = record_name(settings, seed)
    with claim(folder, name) as had:
        if not had or (Path(folder) / name).exists():
            print(f"{name}: " + (f"already in {folder}" if had else "another process is making it"))
            return True
        checkpoint = Path(folder) / "checkpoints" / f"{name}.ckpt"
        with tqdm(total=settings.epochs, desc=f"{settings.method}, seed {seed}", unit="epoch", disable=None) as bar:
            try:
                record = run_search(
                    settings,
                    images,
                    seed,
                    progress=lambda epoch: bar.update(epoch.epoch - bar.n),
                    checkpoint=checkpoint,
                    should_stop=signals.should_stop,
                )
            except RunInterruptedError as error:
                print(error, flush=True)
                return False
        path = write_search(record, folder)
        checkpoint.unlink(missing_ok=True)
    found = record.get("argmax") or record.get("genotype")
    print(f"{record['failure'] or f'found {found}'}, {record['seconds']:.0f} s -> {path}", flush=True)
    return not signals.should_stop()


if __name__ == "__main__":
    sys.exit(main())

"""Train networks of several cells: ``python generation/train_genotype.py --genotype arnas --dataset digits --out DIR``.

--genotype takes ``arnas``, the published genotype of ARNAS's own space; JSON files with such genotypes, which are
trained by ARNAS's recipe; or cells of the benchmark's space, which are trained by its own protocol: ``9930,1462`` is
cell 9930 in stages 1 and 2 and cell 1462 in stage 3, at widths C, 2C and 2C, and ``9930`` the same network of one cell.
One JSON file per run goes to --out. A run that is there already is not made again, and one that was interrupted goes on
from its checkpoint; SIGTERM and SIGUSR1 make the program checkpoint and exit with code 75.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import epoch_bar, seed
from train_cell import Signals, check_folder, stopped

from nasbench_robust.errors import MissingPackageError
from nasbench_robust.programs import guarded, positive


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs that the arguments name and return the exit code."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    signals = Signals()
    return guarded("train_genotype.py", lambda: _train(args, signals), args.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--genotype", nargs="+", default=["arnas"], help="arnas (default), FILE.json, CELL or CELL,CELL"
    )
    parser.add_argument("--dataset", default="digits", help="images to train on (default: digits)")
    parser.add_argument("--data-root", metavar="ROOT", help="folder of the images, or hub:owner/name")
    parser.add_argument("--seeds", type=seed, nargs="+", default=[0], metavar="SEED", help="one run each (default: 0)")
    parser.add_argument("--settings", help="TOML or JSON file that overrides settings of the protocol")
    parser.add_argument("--out", required=True, help="folder for the results")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads (default: 1); results depend on it")
    return parser


def _train(args: argparse.Namespace, signals: Signals) -> int:
    try:
        import torch
    except ImportError as error:
        raise MissingPackageError(error.name or "torch", "train") from None
    from nasbench_robust.images import load_images
    from nasbench_robust.search.arnas import default_settings, parse_architecture
    from nasbench_robust.settings import read_settings

    check_folder(Path(args.out))
    units = []
    for architecture in map(parse_architecture, args.genotype):
        settings = default_settings(architecture, args.dataset)
        units.append((architecture, read_settings(args.settings, settings) if args.settings else settings))
    torch.set_num_threads(args.threads)
    images = load_images(args.dataset, args.device, args.data_root)
    for number in args.seeds:
        for architecture, settings in units:
            if not _make(architecture, settings, images, number, args.out, signals):
                return stopped(signals)
    return 0


def _make(architecture: Any, settings: Any, images: Any, number: int, out: str, signals: Signals) -> bool:
    """Make one run, unless it is there or another process is at it; return False if it was asked to stop."""
    from nasbench_robust.errors import RunInterruptedError
    from nasbench_robust.runs import claim
    from nasbench_robust.search.arnas import run_architecture, run_name, write_result

    name = run_name(architecture, settings, number)
    path, checkpoint = Path(out) / f"{name}.json", Path(out) / "checkpoints" / f"{name}.ckpt"
    with claim(out, name) as had:
        if not had or path.exists():
            print(f"{name}: " + (f"already in {out}" if had else "another process is making it"))
            return True
        with epoch_bar(settings.epochs, name) as show:
            try:
                result = run_architecture(
                    architecture,
                    settings,
                    images,
                    number,
                    progress=show,
                    checkpoint=checkpoint,
                    should_stop=signals.should_stop,
                )
            except RunInterruptedError as error:
                print(error, flush=True)
                return False
        write_result(result, path)
        checkpoint.unlink(missing_ok=True)
    print(f"{name}: {result.get('failure') or _summary(result)} -> {path}", flush=True)
    return not signals.should_stop()


def _summary(result: dict[str, Any]) -> str:
    measured = [f"{entry['metric']} {entry['correct'] / entry['images']:.4f}" for entry in result["accuracies"]]
    return ", ".join([f"{result['parameters']} parameters", *measured])


if __name__ == "__main__":
    sys.exit(main())

"""The device that a benchmark runs on: asked for, described, waited for."""

from __future__ import annotations

import argparse

import torch

from nasbench_robust import provenance


def parse_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add ``--device`` to a parser and return what it reads; one that is not there ends the program."""
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="default: cpu")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no CUDA device here, expected cpu")
    return args


def describe(device: str) -> str:
    """Return what the device is, and what drives it."""
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name() if device == "cuda" else f"{provenance.processor()}, {threads} thread(s)"
    return f"{name}, torch {torch.__version__}"


def wait(device: str) -> None:
    """Return when the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()

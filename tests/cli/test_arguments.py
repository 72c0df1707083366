"""Arguments reach what they are for, and numbers end where they may."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nasbench_robust import runs
from nasbench_robust.cli import main
from nasbench_robust.cli.command import seed
from nasbench_robust.metrics import fgsm
from nasbench_robust.runs import Run, write_run
from nasbench_robust.settings import settings_for


def test_strength_and_order_of_a_search_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Any] = []
    monkeypatch.setattr(runs, "make", lambda job, *_, **__: jobs.append(job) or 0)
    line = ["search", "--method", "rnas-like-v1", "--out", str(tmp_path)]
    assert main(line) == 0
    assert main([*line, "--strength", "0.25", "--order", "2"]) == 0
    assert [(job.settings.strength, job.settings.order) for job in jobs] == [(1.0, 1), (0.25, 2)]


def test_the_largest_seed_is_what_a_column_holds() -> None:
    assert seed("2147483647") == 2**31 - 1
    with pytest.raises(Exception, match="2147483648 is no seed"):
        seed("2147483648")


def test_a_collection_with_warnings_alone_is_a_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = replace(settings_for("digits"), evaluation=(fgsm(0.1),))
    row = {"dataset": "digits", "index": 5, "seed": 0, "seeds": 1, "test_images": 517, "settings": settings.hash}
    write_run(Run({**row, "failure": "out of memory"}, [], {}), settings, tmp_path / "shards")
    assert main(["collect", str(tmp_path / "shards"), "--out", str(tmp_path / "release")]) == 0
    printed = capsys.readouterr().out
    assert "failed: digits cell 5, seed 0: out of memory" in printed
    assert "warning: failure: digits: failed runs [1 cell(s): 5]" in printed

"""Files of a run that are set aside: that of the runs first, so that the run counts as missing from then on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nasbench_robust.table.shards import quarantine, shard_file

TABLES = ("runs", "curves", "outcomes")


def test_the_row_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = shard_file("digits", 9, 3)
    assert name == "digits-00009-3.parquet"
    for table in TABLES:
        (tmp_path / table).mkdir()
        (tmp_path / table / name).write_text(table)
    move = shutil.move

    def interrupted(source: Path, target: Path) -> None:
        move(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "move", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quarantine(tmp_path, TABLES, name)
    assert not (tmp_path / "runs" / name).exists()
    assert (tmp_path / "quarantine" / "runs" / name).read_text() == "runs"
    monkeypatch.undo()
    assert quarantine(tmp_path, TABLES, name) == [tmp_path / "quarantine" / table / name for table in TABLES[1:]]

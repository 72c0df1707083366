"""Files that are set aside: moved to where nothing looks for rows, one beside the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from nasbench_robust.table.shards import quarantine, shard_file


@pytest.mark.parametrize("place", ["runs", "runs/000", "scores"])
def test_what_is_set_aside_keeps_its_name_and_what_was_there_before_it(tmp_path: Path, place: str) -> None:
    name = shard_file("digits", 9, 3)
    assert name == "digits-00009-3.parquet"
    (tmp_path / place).mkdir(parents=True)
    aside = []
    for content in ("first", "second", "third"):
        (tmp_path / place / name).write_text(content)
        aside.append(quarantine(tmp_path, tmp_path / place / name))
        assert not (tmp_path / place / name).exists()
    assert aside[0] == tmp_path / "quarantine" / place / name
    assert [path.read_text() for path in aside] == ["first", "second", "third"]

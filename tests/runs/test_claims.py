"""A claim is held until its block ends, whoever asks about it meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
from processes import PATIENCE

from nasbench_robust.runs import claim, is_claimed

ELSEWHERE = """
import sys
from nasbench_robust.runs import claim, is_claimed
with claim(sys.argv[1], "unit") as had:
    print(is_claimed(sys.argv[1], "unit"), had)
"""


def elsewhere(folder) -> str:
    command = [sys.executable, "-c", ELSEWHERE, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_who_holds_a_claim_may_ask_about_it_and_keeps_it(tmp_path):
    with claim(tmp_path, "unit") as had:
        assert had
        assert is_claimed(tmp_path, "unit")
        assert is_claimed(tmp_path / ".." / tmp_path.name, "unit")
        assert elsewhere(tmp_path) == "True False"
        assert not is_claimed(tmp_path, "another")
    assert not is_claimed(tmp_path, "unit")
    assert elsewhere(tmp_path) == "True True"


def test_threads_of_one_process_do_not_claim_the_same(tmp_path):
    """The system's lock belongs to the process: it would give it to every thread."""
    had, start = [], threading.Barrier(8, timeout=PATIENCE)
    done = threading.Barrier(8, timeout=PATIENCE)

    def work() -> None:
        start.wait()
        with claim(tmp_path, "unit") as mine:
            had.append(mine)
            done.wait()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(had) == [False] * 7 + [True]
    assert not is_claimed(tmp_path, "unit")


def test_a_claim_that_ends_in_an_error_is_free_again(tmp_path):
    with pytest.raises(KeyError), claim(tmp_path, "unit"):
        raise KeyError
    with claim(tmp_path, "unit") as had:
        assert had


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_does_not_take_its_parents_claim_for_its_own(tmp_path):
    with claim(tmp_path, "unit"):
        child = os.fork()
        if child == 0:
            with claim(tmp_path, "unit") as had:
                os._exit(int(had))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert is_claimed(tmp_path, "unit")
        assert elsewhere(tmp_path) == "True False"

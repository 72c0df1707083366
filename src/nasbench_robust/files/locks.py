"""One thread at a time: the lock around what threads share and cannot use together."""

from __future__ import annotations

import os
import threading

# One for the whole process, as objects with a lock of their own could not be pickled or copied. A fork waits until it
# is free, so that no child is born with a lock that nobody opens.
ONE_AT_A_TIME = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=ONE_AT_A_TIME.acquire, after_in_parent=ONE_AT_A_TIME.release, after_in_child=ONE_AT_A_TIME.release
    )

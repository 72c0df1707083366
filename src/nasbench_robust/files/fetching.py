"""One attempt at a download: bounded in size, in time, in rate and in redirects, whatever the server does."""

from __future__ import annotations

import fcntl
import hashlib
import threading
import time
from pathlib import Path

TIMEOUT_SECONDS = 30.0  # without an answer
WINDOW_SECONDS, LEAST_RATE = 20.0, 1024  # in every window so many bytes a second, or the attempt is given up
MOST_SECONDS = 600.0
REDIRECTS = 5
_CHUNK = 4096


class FetchError(Exception):
    """An attempt that failed; `final` says that another one would too."""

    def __init__(self, problem: str, final: bool = False) -> None:
        self.final = final
        super().__init__(problem, final)

    def __str__(self) -> str:
        return str(self.args[0])


class _Transfer(threading.Thread):
    """The transfer in a thread of its own, since no timeout of the client ends a server that sends a byte a second."""

    def __init__(self, url: str, path: Path, most: int) -> None:
        super().__init__(daemon=True)  # a server that never answers must not keep the process
        self._url, self._path, self._most = url, path, most
        self.received, self.given_up = 0, False
        self.digest = hashlib.sha256()
        self.problem: Exception | None = None

    def run(self) -> None:
        try:
            self._transfer()
        except Exception as error:
            self.problem = error

    def _transfer(self) -> None:
        import requests

        with requests.Session() as session, open(self._path, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # says to others that somebody is at it
            session.max_redirects = REDIRECTS
            with session.get(self._url, stream=True, timeout=TIMEOUT_SECONDS) as response:
                response.raise_for_status()
                for chunk in response.iter_content(_CHUNK):
                    if self.given_up:
                        return
                    self.received += len(chunk)
                    if self.received > self._most:
                        raise FetchError(f"it is longer than the {self._most} bytes that it may have", final=True)
                    self.digest.update(chunk)
                    file.write(chunk)


def fetch(url: str, path: Path, most: int, hash_: str) -> None:
    """Write what is at an address to a path.

    Parameters
    ----------
    url : str
    path : Path
    most : int
        Bytes that it may have.
    hash_ : str
        Its SHA-256.

    Raises
    ------
    FetchError
        If it cannot be had within the bounds of this module, or has another hash.
    OSError
        If it cannot be stored.
    """
    transfer = _Transfer(url, path, most)
    start = time.monotonic()
    transfer.start()
    try:
        transfer.join(WINDOW_SECONDS)  # the first window is for connecting
        while transfer.is_alive():
            before = transfer.received
            transfer.join(WINDOW_SECONDS)
            slow = transfer.received - before < LEAST_RATE * WINDOW_SECONDS
            if transfer.is_alive() and (slow or time.monotonic() - start > MOST_SECONDS):
                rate = transfer.received / (time.monotonic() - start)
                raise FetchError(f"the server sends too slowly ({rate:.0f} bytes a second)", final=True)
    finally:
        transfer.given_up = True
    _raise_problem(transfer.problem)
    if transfer.digest.hexdigest() != hash_:
        raise FetchError(f"its content does not have the SHA-256 {hash_}")


def _raise_problem(problem: Exception | None) -> None:
    """Say what the client raised, in our words."""
    import requests

    if isinstance(problem, requests.exceptions.HTTPError):
        status, reason = problem.response.status_code, problem.response.reason
        raise FetchError(f"the server answered {status} {reason}", final=400 <= status < 500)
    if isinstance(problem, requests.exceptions.TooManyRedirects):
        raise FetchError(f"the server redirects more than {REDIRECTS} times", final=True)
    if isinstance(problem, requests.exceptions.RequestException):
        no_address = isinstance(problem, ValueError)  # those about the address itself
        raise FetchError(f"the connection failed ({type(problem).__name__})", final=no_address)
    if problem is not None:
        raise problem

"""Where downloads are kept, whether the network may be asked, and the one download of a file by its hash."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..errors import DownloadError, MissingDataError
from .atomic import checksum

log = logging.getLogger(__name__)

HOME_VARIABLE = "NASBENCH_ROBUST_HOME"
OFFLINE_VARIABLE = "NASBENCH_ROBUST_OFFLINE"
_ATTEMPTS = 3
_TIMEOUT_SECONDS = 30.0


def home() -> Path:
    """Return the folder of downloads and converted releases; ``NASBENCH_ROBUST_HOME`` names another one."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("nasbench-robust"))


def is_offline() -> bool:
    """Return whether the environment forbids the network."""
    return os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in ("", "0", "false", "no")


def download(url: str, hash_: str, filename: str, title: str) -> Path:
    """Download a file in a few attempts; a copy that is there with the right hash is not asked for again.

    Parameters
    ----------
    url, hash_ : str
        Address of the file, and the SHA-256 of its content.
    filename, title : str
        What it is called in the cache, and in messages.

    Raises
    ------
    MissingDataError
        If it is not in the cache and the network is forbidden.
    DownloadError
        If it cannot be had, or has another hash. Nothing is kept then.
    """
    import pooch
    import requests

    folder = home() / "downloads"
    target = folder / filename
    if target.exists() and checksum(target) == hash_:
        return target
    if is_offline():
        remedy = f"unset {OFFLINE_VARIABLE}, or pass a copy of {url} with path= or --path"
        raise MissingDataError(f"{title} is not on this machine and {OFFLINE_VARIABLE} is set", remedy)
    pooch.get_logger().setLevel("WARNING")
    problem = ""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            log.info("downloading %s (attempt %d of %d)", url, attempt, _ATTEMPTS)
            pooch.retrieve(
                url,
                known_hash=f"sha256:{hash_}",
                fname=filename,
                path=folder,
                downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_SECONDS),
            )
            return target
        except requests.exceptions.HTTPError as error:
            status = error.response.status_code
            problem = f"the server answered {status} {error.response.reason}"
            if 400 <= status < 500:
                break
        except requests.exceptions.RequestException as error:
            problem = f"the connection failed ({type(error).__name__})"
        except ValueError:  # pooch: wrong hash, or an address that it cannot read
            problem = f"its content does not have the SHA-256 {hash_}"
        except OSError as error:
            problem = f"could not be stored in {folder} ({error.strerror or error})"
            break
    raise DownloadError(url, f"{problem}; nothing was kept. A copy from elsewhere can be passed with path= or --path")

"""What pyarrow says of a file, told apart: damaged for good, or not to be read now."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import NasbenchRobustError, TableError, UnreadableError


@contextlib.contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on a file that is not readable Parquet into a `TableError`.

    What may pass, as a lack of permission, of memory or of a codec, says nothing about the file: `UnreadableError`.
    """
    try:
        yield
    except (NasbenchRobustError, FileNotFoundError):
        raise
    except MemoryError as error:
        raise UnreadableError(path, error) from None
    except OSError as error:
        if error.errno is not None:  # of the system; those of pyarrow about the content have none
            raise UnreadableError(path, error) from None
        raise TableError(path, f"not readable as Parquet, perhaps cut or damaged ({_first_line(error)})") from None
    except (pa.ArrowException, ValueError, TypeError, KeyError, RecursionError) as error:
        if "not built" in str(error):
            raise UnreadableError(path, _first_line(error)) from None
        raise TableError(path, f"not readable as Parquet, perhaps cut or damaged ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def parquet_of(content: bytes) -> pq.ParquetFile:
    """Open a small file that was read as a whole."""
    return pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)

"""The explorer: one self-contained HTML page in which releases are looked at, compared and shared."""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

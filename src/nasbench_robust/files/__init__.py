"""Files: written whole or not at all, kept in one cache, fetched from where they are published."""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

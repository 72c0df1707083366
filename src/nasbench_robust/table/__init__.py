"""The table, and asking it: what the files hold, how they are read and checked, and the query API over them."""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

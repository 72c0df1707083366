"""Search methods on a table: the problem and its budget, the methods, what was found."""

from ..._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

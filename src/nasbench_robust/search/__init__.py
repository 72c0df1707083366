"""Search methods, tables to try them on, supernets to search in, bounds to search by.

`TableProblem` makes a search problem of a table, `Budget` says what may be spent, `run` and `repeat` search, and
`Trajectory` and `Repeats` say what was found. A search method is any object with ``ask`` and ``tell``.
"""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

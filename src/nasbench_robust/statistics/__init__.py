"""Comparing columns of a table: rank correlations with intervals, and how much of a column is noise."""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

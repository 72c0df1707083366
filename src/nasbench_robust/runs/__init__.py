"""Making a table: a run and its files, work lists and claims, collection, Slurm."""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

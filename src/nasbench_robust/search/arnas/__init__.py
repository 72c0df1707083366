"""ARNAS's own space of cells: genotypes, networks, settings, training runs."""

from ..._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

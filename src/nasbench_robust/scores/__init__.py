"""All training-free scores of a cell: what decides them, how they are made, the tables that hold them."""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

"""Certified and linearised bounds of networks: intervals, boxes, Jacobians."""

from ..._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

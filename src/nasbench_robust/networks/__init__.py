"""What is trained: the published network around a cell, supernets, and faster ways through the same network."""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

"""Where tables come from and where they go: load a release by name, convert a foreign file, publish."""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

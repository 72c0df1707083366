"""Image data sets: read from the files in which they are published, in memory as one class, augmented in batches."""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

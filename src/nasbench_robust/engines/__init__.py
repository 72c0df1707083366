"""Ways of making a run: which there are, how they train and measure, what they keep, what they say of themselves."""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

"""Differentiable search in one supernet: methods, their bilevel optimisation, one-shot scores, records."""

from ..._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

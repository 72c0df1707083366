"""Adversarially trained NAS-Bench-201 cells, measured, and one call away.

>>> import nasbench_robust as nbr
>>> bench = nbr.load()  # the digits table, which is part of the package
>>> bench.query(9930, metric="pgd_acc")  # doctest: +SKIP

Importing this package imports nothing but the standard library: names are resolved when they are first used.
"""

from ._door import door
from ._moved import install
from .version import __version__ as __version__

install()
__getattr__, __dir__, __all__ = door(__name__, __file__)

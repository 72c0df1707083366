"""Plots of releases, cells, runs and searches, by matplotlib (extra ``plots``): axes in, axes out, one style.

Every function draws into the axes that it is given, or makes a figure of the size of a printed column, and returns the
axes. Nothing of matplotlib's state is changed.
"""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

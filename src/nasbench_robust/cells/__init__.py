"""The cell space of NAS-Bench-201: what a cell is, how it is named, which cells are the same, which edges matter.

A cell has four nodes and six edges, in the order 0->1, 0->2, 1->2, 0->3, 1->3, 2->3, each with one of five operations;
5**6 = 15,625 cells. Cells are numbered as in NATS-Bench and NAS-RobBench-201. Facts about the whole space are arrays
with one row per cell, in the order of that index.
"""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

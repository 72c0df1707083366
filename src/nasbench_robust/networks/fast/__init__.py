"""A `networks.Network` with less work: the same function up to rounding, and the same parameters and statistics.

`FoldedNetwork` is the network in eval mode, for attacks and evaluation; `BatchNetwork` is it in train mode, for the
update. Both take a cell apart by its plan, in milliseconds and without compiling anything.
"""

from ..._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

"""The names that say how a kernel is made. No torch.

`BN_MODES` are what batch normalisation is, `OUTPUTS` which scalar is differentiated, `PRECISIONS` in which arithmetic
and `KERNEL_ENGINES` by what: see `gram.ntk`.
"""

from __future__ import annotations

BN_MODES = ("eval", "batch_frozen", "batch_coupled")
OUTPUTS = ("sum", "trace", "full")
PRECISIONS = ("fp32", "mixed", "fp64")
KERNEL_ENGINES = ("auto", "native", "torch")

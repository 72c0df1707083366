"""Training-free scores of an untrained network: the baselines that a predictor of robustness is compared with.

`PROXIES` lists them, with source, direction and what each one looks at; whoever has another one adds a row. `score`
computes one, `scores` several, on images as they are and on adversarial images that the caller made: the function is
the same. The network is the one of `networks`, with the weights that it was initialised with, and is left exactly as it
was.
"""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)

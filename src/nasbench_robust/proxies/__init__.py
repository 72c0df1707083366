"""Training-free scores of an untrained network: the baselines that a predictor of robustness is compared with.

`PROXIES` lists them, with source, direction and what each one looks at. `score` computes one, `scores` several, on
images as they are and on adversarial images that the caller made: the function is the same. The network is the one of
`networks`, with the weights that it was initialised with, and is left exactly as it was.
"""

from .catalogue import PROXIES, Proxy
from .scoring import Score, score, scores

__all__ = ["PROXIES", "Proxy", "Score", "score", "scores"]

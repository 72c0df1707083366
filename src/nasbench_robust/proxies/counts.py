"""What a network costs: the scores that any other one has to beat. They look at nothing but its size."""

from __future__ import annotations

from ..networks import Network


def params(network: Network) -> float:
    """Return the number of trainable parameters, batch normalisation included."""
    return float(network.cell.parameters(network.skeleton))


def flops(network: Network) -> float:
    """Return the multiply-accumulates of one image, by `skeletons.FLOPS_RULE`."""
    return float(network.cell.flops(network.skeleton))

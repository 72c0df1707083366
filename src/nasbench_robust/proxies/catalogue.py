"""The catalogue of training-free scores: for each its function, where it is from, which way is up, what it looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..networks import Network
from .consistency import croze
from .inputs import jacob_cov, naswot, zen
from .saliency import fisher, grad_norm, grasp, snip, synflow

BATCH, BYPASSED, UNUSED = "batch statistics", "bypassed", "not used"


@dataclass(frozen=True)
class Proxy:
    """One training-free score.

    Attributes
    ----------
    name : str
        Key of `PROXIES`.
    function : callable
        Takes the network and then, of images, labels and generator, those that it uses; it does not check them.
    source : str
        Where it is defined.
    normalisation : str
        What batch normalisation does meanwhile: ``"batch statistics"``, ``"bypassed"`` or ``"not used"``.
    uses_images, uses_labels : bool
        Whether it looks at the images, and at their labels.
    draws : bool
        Whether it draws from the generator.
    adversarial : bool
        Whether a second value on adversarial images means anything: not where no image is used, nor where the score
        perturbs the images itself.
    needs_path : bool
        Whether the score says nothing of a cell without a path from input to output.
    higher_is_better : bool
        Which way the authors mean it: for accuracy, and for robust accuracy in the case of CRoZe.
    """

    name: str
    function: Callable[..., float]
    source: str
    normalisation: str = BATCH
    uses_images: bool = True
    uses_labels: bool = True
    draws: bool = False
    adversarial: bool = True
    needs_path: bool = True
    higher_is_better: bool = True


def params(network: Network) -> float:
    """Return the number of trainable parameters, batch normalisation included; looks at no image."""
    return float(network.cell.parameters(network.skeleton))


def flops(network: Network) -> float:
    """Return the multiply-accumulates of one image, by `skeletons.FLOPS_RULE`; looks at no image."""
    return float(network.cell.flops(network.skeleton))


_without_images = partial(Proxy, uses_images=False, uses_labels=False, adversarial=False)
_ZERO_COST = "as in Abdelfattah et al., ICLR 2021"
_LISTED = (
    _without_images("params", params, "count of trainable parameters", UNUSED, needs_path=False),
    _without_images(
        "flops", flops, "count of multiply-accumulates, as NATS-Bench reports it", UNUSED, needs_path=False
    ),
    _without_images("synflow", synflow, f"Tanaka et al., NeurIPS 2020, {_ZERO_COST}", BYPASSED),
    Proxy("grad_norm", grad_norm, "Abdelfattah et al., ICLR 2021"),
    Proxy("snip", snip, f"Lee et al., ICLR 2019, {_ZERO_COST}"),
    Proxy("grasp", grasp, f"Wang et al., ICLR 2020, {_ZERO_COST}"),
    Proxy("fisher", fisher, f"Turner et al., ICLR 2020, {_ZERO_COST}"),
    Proxy("jacob_cov", jacob_cov, "Mellor et al., arXiv:2006.04647v1, 2020", uses_labels=False),
    Proxy("naswot", naswot, "Mellor et al., ICML 2021", uses_labels=False),
    _without_images("zen", zen, "Lin et al., ICCV 2021", draws=True),
    Proxy("croze", croze, "Ha et al., NeurIPS 2023", BYPASSED, adversarial=False),
)
PROXIES: dict[str, Proxy] = {proxy.name: proxy for proxy in _LISTED}

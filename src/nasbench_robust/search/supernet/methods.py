"""What the architecture parameters of a supernet descend along: one small function per search method.

A method is made of `terms`, the losses of a batch that it differentiates with respect to the architecture parameters,
and `combine`, which makes one direction of their gradients. `METHODS` holds them by name. Names that end in ``-like``
are reconstructions: the published description leaves the formula, or its constants, open.

Sources: DARTS (Liu et al., ICLR 2019), GDAS (Dong and Yang, CVPR 2019), RNAS (Zhu et al., arXiv 2304.02845), DSRNA
(Hosseini et al., CVPR 2021), ARNAS (Ou et al., CVPR 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ...errors import InvalidValueError, UnknownNameError
from ...settings import settings_for
from ..bounds import jacobian_robustness, log_radius, running_statistics
from .settings import SPACES, SearchSettings
from .views import Batch, Model

DRAWN_LOGITS = 2  # of every image, for the Jacobian: each costs a backward pass that is differentiated again

BENCHMARK_SPACES = ("cell", "two-cells")  # of a method that must know the supernet's operations

Terms = Callable[[Model, Batch], tuple[torch.Tensor, ...]]
Combine = Callable[[Sequence[torch.Tensor], float], tuple[torch.Tensor, dict[str, float]]]


# ------------------------------------------------------------------ losses


def clean_loss(model: Model, batch: Batch) -> tuple[torch.Tensor, ...]:
    """Return the cross entropy of the images as they are: DARTS and GDAS."""
    return (F.cross_entropy(model(batch.images), batch.labels),)


def clean_and_divergence(model: Model, batch: Batch) -> tuple[torch.Tensor, ...]:
    """Return the clean cross entropy and KL(p(x) || p(x')), x' the noisy images: RNAS-like, variant 1."""
    clean, noisy = model(batch.images), model(batch.perturbed)
    return F.cross_entropy(clean, batch.labels), kl_divergence(clean, noisy)


def noisy_and_distance(model: Model, batch: Batch) -> tuple[torch.Tensor, ...]:
    """Return the noisy cross entropy and the mean squared distance of the logits: RNAS-like, variant 2."""
    clean, noisy = model(batch.images), model(batch.perturbed)
    return F.cross_entropy(noisy, batch.labels), F.mse_loss(clean, noisy)


def clean_and_perturbed(model: Model, batch: Batch) -> tuple[torch.Tensor, ...]:
    """Return the cross entropy of the images as they are and perturbed: RNAS-like, variant 3, and ARNAS."""
    return tuple(F.cross_entropy(model(images), batch.labels) for images in (batch.images, batch.perturbed))


def clean_and_jacobian(model: Model, batch: Batch) -> tuple[torch.Tensor, ...]:
    """Return the clean cross entropy and the first-order bound of a logit's change, of drawn logits: DSRNA-like."""
    (clean,) = clean_loss(model, batch)
    with running_statistics(model.supernet):
        robustness = jacobian_robustness(model, batch.images, batch.eps, draws=DRAWN_LOGITS, generator=batch.draws)
    return clean, -robustness


def clean_and_radius(model: Model, batch: Batch) -> tuple[torch.Tensor, ...]:
    """Return the clean cross entropy and the mean logarithm of the logits' interval radius: DSRNA-like.

    The certified bound itself, a margin minus the radius, is of the order of the radius: far beyond any loss.
    """
    (clean,) = clean_loss(model, batch)
    with running_statistics(model.supernet):
        return clean, log_radius(model.supernet, batch.images, batch.eps, model.mixture)


def clean_and_both_bounds(model: Model, batch: Batch) -> tuple[torch.Tensor, ...]:
    """Return the clean cross entropy and the sum of the two bounds: DSRNA-like."""
    clean, jacobian = clean_and_jacobian(model, batch)
    with running_statistics(model.supernet):
        return clean, jacobian + log_radius(model.supernet, batch.images, batch.eps, model.mixture)


def kl_divergence(logits: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return KL(softmax(logits) || softmax(others)), the mean over images.

    For small differences d of the logits it is d^T (diag(p) - p p^T) d / 2.
    """
    return F.kl_div(F.log_softmax(others, dim=1), F.log_softmax(logits, dim=1), reduction="batchmean", log_target=True)


# ------------------------------------------------------------------ directions


def first_plus(gradients: Sequence[torch.Tensor], strength: float) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the first gradient plus `strength` times the second, and the ratio of the norms of these two parts."""
    first, second = gradients
    return first + strength * second, {"ratio": _ratio(strength * second, first)}


def between(gradients: Sequence[torch.Tensor], strength: float) -> tuple[torch.Tensor, dict[str, float]]:
    """Return (1 - strength) times the first gradient plus `strength` times the second."""
    first, second = (1 - strength) * gradients[0], strength * gradients[1]
    return first + second, {"ratio": _ratio(second, first)}


def only(gradients: Sequence[torch.Tensor], _strength: float) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the one gradient there is."""
    return gradients[0], {}


def minimum_norm_direction(gradients: Sequence[torch.Tensor], strength: float) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the shortest vector between the natural gradient and `strength` times the adversarial one.

    The direction d = t g_n + (1 - t) g_a with t = clip((g_a - g_n) . g_a / |g_a - g_n|^2, 0, 1) has a product of at
    least |d|^2 with both: a step against it makes neither loss larger, to first order. Equal gradients give t = 0.

    Source: Désidéri, "Multiple-gradient descent algorithm", 2012; Sener and Koltun, NeurIPS 2018; ARNAS.
    """
    natural, adversarial = gradients[0], strength * gradients[1]
    apart = adversarial - natural
    square = float((apart * apart).sum())
    share = 0.0 if square == 0 else min(max(float((apart * adversarial).sum()) / square, 0.0), 1.0)
    direction = share * natural + (1 - share) * adversarial
    return direction, {"natural_share": share, "ratio": _ratio(adversarial, natural), "cosine": _cosine(*gradients)}


def _ratio(above: torch.Tensor, below: torch.Tensor) -> float:
    """Return |above| / |below|, infinite where only the lower is zero."""
    top, bottom = float(above.norm()), float(below.norm())
    return top / bottom if bottom else (float("inf") if top else 0.0)


def _cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(F.cosine_similarity(first.flatten(), second.flatten(), dim=0))


# ------------------------------------------------------------------ methods


@dataclass(frozen=True)
class Method:
    """A search method on the supernet.

    Attributes
    ----------
    name, summary : str
    terms : callable
        Takes a `Model` and a `Batch` of the architecture's half and returns losses.
    combine : callable
        Takes their gradients and the strength; returns one direction and numbers to log.
    strength : float
        Default of the weight of the second term; 0 where there is none.
    sees : str
        What the weights are trained on and `Batch.perturbed` holds: ``"clean"``, ``"noise"`` or ``"adversarial"``.
    order : int
        Default order of the architecture gradient: 2 looks one step of the weights ahead.
    orders : tuple of int
        Orders that can be had.
    samples : bool
        Whether one operation of every edge is drawn (GDAS) instead of the softmax of all.
    spaces : tuple of str
        Spaces that can be searched, of `settings.SPACES`.
    """

    name: str
    summary: str
    terms: Terms
    combine: Combine = only
    strength: float = 0.0
    sees: str = "clean"
    order: int = 1
    orders: tuple[int, ...] = (1, 2)
    samples: bool = False
    spaces: tuple[str, ...] = SPACES


_ALL = (
    Method("darts", "clean loss", clean_loss),
    Method(
        "gdas",
        "clean loss, one operation of every edge drawn",
        clean_loss,
        orders=(1,),
        samples=True,
        spaces=BENCHMARK_SPACES,
    ),
    Method(
        "rnas-like-v1",
        "clean loss + strength x KL of clean and noisy predictions",
        clean_and_divergence,
        first_plus,
        strength=1.0,
        sees="noise",
    ),
    Method(
        "rnas-like-v2",
        "noisy loss + strength x squared distance of clean and noisy logits",
        noisy_and_distance,
        first_plus,
        strength=1.0,
        sees="noise",
    ),
    Method(
        "rnas-like-v3",
        "(1 - strength) x clean loss + strength x noisy loss",
        clean_and_perturbed,
        between,
        strength=0.5,
        sees="noise",
    ),
    *(
        Method(
            f"dsrna-like-{bound}",
            f"clean loss + strength x {what}",
            terms,
            first_plus,
            strength=0.01,
            orders=(1,),
            spaces=spaces,
        )
        for bound, what, terms, spaces in (
            ("jacobian", "first-order bound of a logit's change", clean_and_jacobian, SPACES),
            ("certified", "log radius of a logit's interval", clean_and_radius, BENCHMARK_SPACES),
            ("combined", "the sum of both bounds", clean_and_both_bounds, BENCHMARK_SPACES),
        )
    ),
    Method(
        "arnas-s",
        "ARNAS's strategy: minimum-norm direction of the clean and strength x the adversarial gradient",
        clean_and_perturbed,
        minimum_norm_direction,
        strength=0.1,
        sees="adversarial",
        order=2,
    ),
)
METHODS: dict[str, Method] = {method.name: method for method in _ALL}


def find_method(name: str, order: int | None = None, space: str | None = None) -> Method:
    """Return the method of that name.

    Raises
    ------
    UnknownNameError
        If there is none.
    InvalidValueError
        If it cannot be had in the order, or search the space, that is asked for.
    """
    if name not in METHODS:
        raise UnknownNameError("search method", name, list(METHODS))
    method = METHODS[name]
    for argument, value, possible in (("order", order, method.orders), ("space", space, method.spaces)):
        if value is not None and value not in possible:
            raise InvalidValueError(argument, value, f"{' or '.join(map(str, possible))} for {name}", str(possible[-1]))
    return method


def check_settings(settings: SearchSettings, method: Method) -> None:
    """Raise `InvalidValueError` for settings that would be stored with a search by this method and ignored by it."""
    protocol = SearchSettings(attack=settings_for(settings.dataset).attack)
    scored = settings.space == "cell" and settings.one_shot_cells > 0  # cells are, as they are and under the attack
    unused = [] if method.samples else ["first_temperature", "last_temperature"]
    unused += ["strength"] if method.combine is only else []
    unused += ["attack"] if method.terms is clean_loss and method.sees == "clean" and not scored else []
    unused += ["one_shot_cells"] if settings.space != "cell" else []
    for name in unused:
        value, default = getattr(settings, name), getattr(protocol, name)
        if value != default:
            reason = f"{default}: a search by {method.name} in the space {settings.space} does not use it"
            raise InvalidValueError(name, value, reason)

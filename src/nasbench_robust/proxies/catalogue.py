"""The table of training-free scores: for each where it is from, which way is up, what it looks at, what computes it.

No torch: a row says where its function is, and that is imported when it is used. A row that a user adds is a proxy like
the others: ``PROXIES["mine"] = Proxy("mine", my_function, "who proposed it")``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import InvalidValueError, UnknownNameError

BATCH, BYPASSED, UNUSED = "batch statistics", "bypassed", "not used"


@dataclass(frozen=True)
class Proxy:
    """One training-free score.

    Attributes
    ----------
    name : str
        Key of `PROXIES`.
    function : str or callable
        Takes the network and then, of images, labels and generator, those that it uses; it does not check them. Returns
        a number, of which one that is not finite counts as a failure, or an `ntk.Value`; where it serves several
        proxies, a dictionary of these by name. As a string where it is, ``"room.file:function"`` of this package.
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
    costly : bool
        Whether it costs more than all cheap ones together, so that tables on natural images leave it out.
    standard : bool
        Whether `scores.score_settings_for` has it. Those that came later are named by who wants them, so that the hash
        of these settings stays what it was.
    """

    name: str
    function: str | Callable[..., Any]
    source: str
    normalisation: str = BATCH
    uses_images: bool = True
    uses_labels: bool = True
    draws: bool = False
    adversarial: bool = True
    needs_path: bool = True
    higher_is_better: bool = True
    costly: bool = False
    standard: bool = True


_without_images = partial(Proxy, uses_images=False, uses_labels=False, adversarial=False)
_count = partial(_without_images, normalisation=UNUSED, needs_path=False)
_later = partial(Proxy, standard=False)
_later_without_images = partial(_without_images, standard=False)
_drawn = partial(_later_without_images, draws=True)
_ZERO_COST = "as in Abdelfattah et al., ICLR 2021"
_LISTED = (
    _count("params", "proxies.counts:params", "count of trainable parameters"),
    _count("flops", "proxies.counts:flops", "count of multiply-accumulates, as NATS-Bench reports it"),
    _without_images("synflow", "proxies.saliency:synflow", f"Tanaka et al., NeurIPS 2020, {_ZERO_COST}", BYPASSED),
    Proxy("grad_norm", "proxies.saliency:grad_norm", "Abdelfattah et al., ICLR 2021"),
    Proxy("snip", "proxies.saliency:snip", f"Lee et al., ICLR 2019, {_ZERO_COST}"),
    Proxy("grasp", "proxies.saliency:grasp", f"Wang et al., ICLR 2020, {_ZERO_COST}", costly=True),
    Proxy("fisher", "proxies.saliency:fisher", f"Turner et al., ICLR 2020, {_ZERO_COST}"),
    Proxy("jacob_cov", "proxies.inputs:jacob_cov", "Mellor et al., arXiv:2006.04647v1, 2020", uses_labels=False),
    Proxy("naswot", "proxies.inputs:naswot", "Mellor et al., ICML 2021", uses_labels=False),
    _without_images("zen", "proxies.inputs:zen", "Lin et al., ICCV 2021", draws=True),
    Proxy("croze", "proxies.consistency:croze", "Ha et al., NeurIPS 2023", BYPASSED, adversarial=False, costly=True),
    _later_without_images("l2_norm", "proxies.saliency:l2_norm", "Abdelfattah et al., ICLR 2021", UNUSED),
    _later("zico", "proxies.saliency:zico", "Li et al., ICLR 2023"),
    _later("epe_nas", "proxies.inputs:epe_nas", "Lopes et al., ICANN 2021"),
    _later("swap", "proxies.inputs:swap", "Peng et al., ICLR 2024", uses_labels=False),
    _drawn("meco", "proxies.features:meco", "Jiang et al., NeurIPS 2023"),
    _drawn("az_expressivity", "proxies.features:az_nas", "Lee and Ham, CVPR 2024"),
    _drawn("az_progressivity", "proxies.features:az_nas", "Lee and Ham, CVPR 2024"),
    _drawn("az_trainability", "proxies.features:az_nas", "Lee and Ham, CVPR 2024"),
)
PROXIES: dict[str, Proxy] = {proxy.name: proxy for proxy in _LISTED}


def find_proxy(name: object) -> Proxy:
    """Return the row of `PROXIES` with this name.

    Raises
    ------
    UnknownNameError
        If there is none; `InvalidValueError` if the row calls itself something else.
    """
    if not isinstance(name, str) or name not in PROXIES:
        raise UnknownNameError("proxy", name, tuple(PROXIES))
    if PROXIES[name].name != name:
        raise InvalidValueError(f"the name of the proxy {name!r}", PROXIES[name].name, "its key in PROXIES", name)
    return PROXIES[name]

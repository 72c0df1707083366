"""One call and one signature for all attacks: the settings say which, the table in `metrics` where it is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, cast

from .._door import resolve
from ..checks import integer, kind
from ..errors import InvalidValueError, UnknownNameError
from ..images import pinned_float32
from ..metrics import ATTACKS, PARTS, Attack
from .preconditions import check_images, check_labels, differentiable, evaluating, labels_in_range, one_precision

if TYPE_CHECKING:
    import torch

WHOLE = "autoattack"  # whose settings its parts take too

# Takes a network, images, labels, the attack's settings, a generator and a batch size; returns adversarial images.
AttackFunction: TypeAlias = Callable[
    ["torch.nn.Module", "torch.Tensor", "torch.Tensor", "Attack", "torch.Generator", int], "torch.Tensor"
]


P = ParamSpec("P")
R = TypeVar("R")


def checked(function: Callable[P, R], name: str = "") -> Callable[P, R]:
    """Return an attack behind its preconditions: arguments checked, the network in eval mode.

    Parameters
    ----------
    function : callable
        An `AttackFunction`, perhaps with further parameters and another result. It stays reachable as `unchecked`.
    name : str
        The attack that it is; by default that of the function's name.
    """
    name, run = name or function.__name__, cast(Any, function)
    generator_of = inspect.signature(function).parameters.get("generator")
    draws = generator_of is not None and generator_of.default is inspect.Parameter.empty

    @functools.wraps(function)
    def attacked(
        network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, attack: Attack, *args: Any, **options: Any
    ) -> Any:
        import torch

        if not callable(network):
            raise InvalidValueError("network", type(network).__name__, "a torch.nn.Module that maps images to logits")
        kind(torch.Tensor)("images", images), kind(torch.Tensor)("labels", labels)
        if not isinstance(attack, Attack) or (attack.name != name and not (attack.name == WHOLE and name in PARTS)):
            raise InvalidValueError("attack", getattr(attack, "name", attack), f"an Attack of the name {name}", name)
        _find(attack)
        if draws and not isinstance(generator := args[0] if args else options.get("generator"), torch.Generator):
            raise InvalidValueError("generator", generator, "a torch.Generator, which draws what the attack draws")
        if "batch_size" in options:
            integer(1)("batch_size", options["batch_size"])
        check_images(images, shape=_shape_of(network))
        check_labels(labels, len(images))
        with (
            pinned_float32(),
            evaluating(network),
            labels_in_range(network, labels),
            one_precision(network, images),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            return run(network, differentiable(images), differentiable(labels), attack, *args, **options)

    attacked.unchecked = function  # type: ignore[attr-defined]
    return attacked  # type: ignore[return-value]


def _shape_of(network: torch.nn.Module) -> tuple[int, int, int] | None:
    """Return the shape of an image, for a network of this package."""
    skeleton = getattr(network, "skeleton", None)
    return skeleton and (skeleton.input_channels, skeleton.image_size, skeleton.image_size)


def _find(attack: Attack) -> Any:
    function = ATTACKS[attack.name].functions.get(attack.norm)
    if function is None:
        runnable = [f"{name} {norm}" for name, kind in ATTACKS.items() for norm in kind.functions]
        raise UnknownNameError("attack that can be run", f"{attack.name} {attack.norm}", runnable)
    return function


def attack_function(attack: Attack) -> AttackFunction:
    """Return what makes the adversarial images of an attack, behind its preconditions.

    Raises
    ------
    UnknownNameError
        If the attack cannot be run here, or not in its norm.
    """
    function = resolve(_find(attack))
    return function if hasattr(function, "unchecked") else checked(function, attack.name)


def unchecked(attack: Attack) -> AttackFunction:
    """Return the attack without its preconditions, for loops whose images are known: the network is in eval mode."""
    function = resolve(_find(attack))
    return getattr(function, "unchecked", function)


def perturb(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator,
    *,
    batch_size: int = 1000,
) -> torch.Tensor:
    """Return adversarial images by the attack that the settings name.

    FGSM and PGD pass all images through the network together; the others take `batch_size` at a time. Whatever mode
    the network is in, it is attacked in eval mode and comes back in the mode that it was in.

    Raises
    ------
    UnknownNameError
        If the attack cannot be run here, or not in its norm.
    InvalidValueError
        If a pixel is not in [0, 1], a label is no class, or another argument is not as it should be.
    """
    integer(1)("batch_size", batch_size)
    if not isinstance(attack, Attack):
        raise InvalidValueError("attack", attack, "an Attack")
    return attack_function(attack)(network, images, labels, attack, generator, batch_size)

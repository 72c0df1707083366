"""Differentiable search: weights and architecture of a supernet descend in turns, each on its half of the images.

Source: Liu, Simonyan and Yang, "DARTS", ICLR 2019, algorithm 1. The method decides what the architecture descends
along; see `methods`.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F

from ...attacks import check_splits, evaluating, unchecked
from ...checks import integer
from ...engines import check_form
from ...engines.torch import as_tensors, check_moments, make_generator, set_draws
from ...errors import TrainingDivergedError
from ...images import TensorImages, pinned_float32, random_crop, random_flip, shrink, to_unit
from .methods import Method, check_settings, find_method
from .settings import SearchSettings
from .spaces import make_supernet
from .views import Batch, Model, look_ahead, sample_operations


@dataclass(frozen=True)
class SearchEpoch:
    """What a search tells about an epoch.

    Attributes
    ----------
    epoch : int
        From 1.
    learning_rate : float
        Of the weights.
    train_loss : float
        Mean loss that the weights descended along.
    alpha : nested list of float, shape of the supernet's `alpha`
        At the end of the epoch.
    logs : dict of str to float
        Means over the steps: the method's terms (``term_0``, ...), what its direction logs (``ratio`` of the norms of
        its parts, ``natural_share``, ``cosine``).
    """

    epoch: int
    learning_rate: float
    train_loss: float
    alpha: list[Any]
    logs: dict[str, float]


class BilevelSearch:
    """A search, step by step; it can be stopped after any step and taken up again without a trace.

    Every step first moves the architecture on a batch of its half, then the weights on a batch of theirs.

    Parameters
    ----------
    settings : SearchSettings
    images : Images
        On the device that is to be used.
    seed : int
        Decides initial weights, halves, order, augmentation, noise and draws.
    supernet : Module, optional
        What to search in, by default that of the settings' space: any module with `alpha`, `mixture()`, `weights()`
        and ``forward(images, mixture)``, already on the device.
    method : Method, optional
        What the architecture descends along, by default the method that the settings name.

    Attributes
    ----------
    supernet : Module
        As searched so far.
    halves : pair of Tensor of int64
        Which training images train the weights, and which the architecture.
    history : list of SearchEpoch
        One entry per finished epoch.
    seconds : float
        Time spent in `step` so far, also before an interruption.
    """

    def __init__(
        self,
        settings: SearchSettings,
        images: TensorImages,
        seed: int,
        supernet: Any = None,
        method: Method | None = None,
    ) -> None:
        self.settings, self.images, self.seed = settings, images, seed
        self.method = find_method(settings.method, settings.order, settings.space) if method is None else method
        check_settings(settings, self.method)
        check_splits(images, settings.dataset)
        device = images.train.pixels.device
        if supernet is None:
            supernet = make_supernet(settings, make_generator(seed, "weights")).to(device)
        self.supernet = supernet
        self._weights = [value for _, value in self.supernet.weights()]
        self._optimiser = torch.optim.SGD(
            self._weights, lr=settings.max_lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self._optimiser, T_max=settings.epochs, eta_min=settings.min_lr
        )
        self._adam = torch.optim.Adam(
            [self.supernet.alpha], lr=settings.alpha_lr, betas=(0.5, 0.999), weight_decay=settings.alpha_weight_decay
        )
        self._draws = make_generator(seed, "search", device)
        if settings.train_images is not None:
            integer(2, len(images.train))("train_images", settings.train_images)
        order = self._permutation(len(images.train))[: settings.train_images]
        middle = len(order) // 2
        self.halves = order[:middle], order[middle:]
        self.history: list[SearchEpoch] = []
        self.seconds = 0.0
        self._start_epoch()

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.history) == self.settings.epochs

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch; a last, short batch is left out."""
        return max(1, len(self.halves[0]) // self.settings.batch_size)

    @pinned_float32()
    def step(self) -> SearchEpoch | None:
        """Take one step of the architecture and one of the weights; return the epoch if it was the last of one.

        Raises
        ------
        TrainingDivergedError
            If the loss, or the architecture, is not finite.
        """
        start = time.perf_counter()
        for_weights, for_architecture = (self._next_batch(half) for half in (0, 1))
        logs = self._move_architecture(for_weights, for_architecture)
        loss = self._move_weights(for_weights)
        self._done += 1
        for name, value in {"train_loss": loss, **logs}.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if not (math.isfinite(self._sums["train_loss"]) and torch.isfinite(self.supernet.alpha).all()):
            raise TrainingDivergedError(len(self.history) + 1)
        ended = self._end_epoch() if self._done == self.steps_per_epoch else None
        self.seconds += time.perf_counter() - start
        return ended

    # -------------------------------------------------------------- the two moves

    def _move_architecture(self, for_weights: Batch, for_architecture: Batch) -> dict[str, float]:
        """Take one step of Adam along the method's direction; return what to log."""
        model = self._model()
        if self.settings.order == 2:
            model = look_ahead(model, self._weights_loss(model, for_weights), self._optimiser)
        losses = self.method.terms(model, for_architecture)
        gradients = [_gradient(loss, self.supernet.alpha) for loss in losses]
        direction, logs = self.method.combine(gradients, self.settings.strength)
        self.supernet.alpha.grad = direction
        self._adam.step()
        return {**{f"term_{number}": float(loss.detach()) for number, loss in enumerate(losses)}, **logs}

    def _move_weights(self, batch: Batch) -> float:
        """Take one step of SGD and return the loss before it."""
        loss = self._weights_loss(self._model(), batch)
        self._optimiser.zero_grad(set_to_none=True)
        gradients = torch.autograd.grad(loss, self._weights, allow_unused=True)
        for value, gradient in zip(self._weights, gradients, strict=True):
            value.grad = gradient  # None on operations that were not drawn
        torch.nn.utils.clip_grad_norm_(self._weights, self.settings.clip)
        self._optimiser.step()
        return float(loss.detach())

    def _weights_loss(self, model: Model, batch: Batch) -> torch.Tensor:
        return F.cross_entropy(model(batch.perturbed), batch.labels)

    def _model(self) -> Model:
        """Return the supernet at its present architecture, or at a draw from it."""
        if not self.method.samples:
            return Model(self.supernet, self.supernet.mixture())
        mixture, choice = sample_operations(self.supernet.alpha, self._temperature(), self._draws)
        return Model(self.supernet, mixture, choice)

    def _temperature(self) -> float:
        first, last = self.settings.first_temperature, self.settings.last_temperature
        return first + (last - first) * len(self.history) / max(1, self.settings.epochs - 1)

    # -------------------------------------------------------------- batches

    def pixels(self, chosen: torch.Tensor) -> torch.Tensor:
        """Return training images in [0, 1] at the size that is searched with."""
        return shrink(to_unit(self.images.train.pixels[chosen]), self.settings.skeleton.image_size)

    def _permutation(self, count: int) -> torch.Tensor:
        return torch.randperm(count, generator=self._draws, device=self._draws.device)

    def _start_epoch(self) -> None:
        self._orders = [half[self._permutation(len(half))] for half in self.halves]
        self._done, self._sums = 0, dict[str, float]()

    def _next_batch(self, half: int) -> Batch:
        """Return the next augmented batch of a half, perturbed as the method asks."""
        size = self.settings.batch_size
        chosen = self._orders[half][self._done * size : (self._done + 1) * size]
        images = random_crop(self.pixels(chosen), self.settings.crop_padding, self._draws)
        if self.settings.flip:
            images = random_flip(images, self._draws)
        labels = self.images.train.labels[chosen]
        return Batch(images, labels, self._perturbed(images, labels), self.settings.attack.eps, self._draws)

    def _perturbed(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        attack = self.settings.attack
        if self.method.sees == "noise":
            noise = torch.empty(images.shape, device=self._draws.device)
            noise.uniform_(-attack.eps, attack.eps, generator=self._draws)
            return (images + noise.to(images)).clamp(0, 1)
        if self.method.sees == "adversarial":
            with evaluating(self.supernet):
                return unchecked(attack)(self.supernet, images, labels, attack, self._draws, len(labels))
        return images

    def _end_epoch(self) -> SearchEpoch:
        learning_rate = float(self._schedule.get_last_lr()[0])
        self._schedule.step()
        logs = {name: total / self._done for name, total in self._sums.items()}
        loss, alpha = logs.pop("train_loss"), self.supernet.alpha.detach().tolist()
        epoch = SearchEpoch(len(self.history) + 1, learning_rate, loss, alpha, logs)
        self.history.append(epoch)
        self._start_epoch()
        return epoch

    # -------------------------------------------------------------- checkpoints

    def _parts(self) -> dict[str, Any]:
        """Return what keeps a state of its own."""
        return {"supernet": self.supernet, "optimiser": self._optimiser, "schedule": self._schedule, "adam": self._adam}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, as tensors and plain values."""
        return {
            **{name: part.state_dict() for name, part in self._parts().items()},
            "draws": self._draws.get_state(),
            "history": [asdict(epoch) for epoch in self.history],
            "seconds": self.seconds,
            "halves": list(self.halves),
            "orders": self._orders,
            "sums": [self._done, self._sums],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a search where `state_dict` left it; arrays may stand where tensors were.

        Raises
        ------
        ValueError, KeyError, TypeError, AttributeError
            For the state of no such search.
        """
        state = as_tensors(state, self._draws.device)
        self._check(state)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        set_draws(self._draws, state["draws"])
        self.history = [SearchEpoch(**epoch) for epoch in state["history"]]
        self.seconds = state["seconds"]
        self.halves = tuple(state["halves"])
        self._orders = state["orders"]
        self._done, self._sums = state["sums"]

    def _check(self, state: dict[str, Any]) -> None:
        """Raise `ValueError` for the state of another search than this one, or of none."""
        fresh, (done, sums), epochs = self.state_dict(), state["sums"], len(state["history"])
        for name in ("optimiser", "adam"):
            fresh[name] = {**fresh[name], "state": {}}
        check_form(state, {**fresh, "history": [], "sums": [0, {}]})
        check_moments(state["optimiser"], self._weights)
        check_moments(state["adam"], [self.supernet.alpha])
        if type(done) is not int or not 0 <= done < self.steps_per_epoch or epochs + (done > 0) > self.settings.epochs:
            raise ValueError(f"{epochs} epochs and {done} steps done, of {self.settings.epochs}")
        epoch = {"epoch": 0, "learning_rate": 0.0, "train_loss": 0.0, "alpha": self.supernet.alpha.tolist(), "logs": {}}
        check_form(state["history"], [epoch] * epochs, "history")
        logged = [sums, *(epoch["logs"] for epoch in state["history"])]
        numbers = all(isinstance(each, (int, float)) for logs in logged for each in logs.values())
        if state["schedule"]["last_epoch"] != epochs or not numbers:
            raise ValueError(f"the schedule, or the sums, are not those of {epochs} epochs")
        chosen = set(torch.cat(list(state["halves"])).tolist())
        if len(chosen) < sum(map(len, self.halves)) or not chosen <= set(range(len(self.images.train))):
            raise ValueError("the halves of the images are none")
        for half, order in zip(state["halves"], state["orders"], strict=True):
            if not torch.equal(half.sort().values, order.sort().values):
                raise ValueError("the order of the images is none")


def _gradient(loss: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Return the gradient, zero where the loss does not depend on it: every edge drew none."""
    (gradient,) = torch.autograd.grad(loss, alpha, retain_graph=True, allow_unused=True, materialize_grads=True)
    return gradient

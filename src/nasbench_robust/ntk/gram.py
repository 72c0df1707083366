"""The empirical neural tangent kernel of a network: scalar products of gradients with respect to all parameters.

Source: Jacot, Gabriel and Hongler, NeurIPS 2018. Samples are stacked, so kernels between several versions of a batch
are blocks of one pass.
"""

from __future__ import annotations

import torch
from torch import nn

from ..errors import InvalidValueError, UnknownNameError
from ..images import pinned_float32
from .coupled import contract_coupled
from .fixed import FixedNetwork, check_batch
from .layers import contract_layers
from .names import OUTPUTS


def ntk(
    network: nn.Module,
    images: torch.Tensor,
    others: torch.Tensor | None = None,
    *,
    output: str | int,
    bn: str,
    precision: str = "fp32",
    engine: str = "auto",
    budget_mib: float = 1024.0,
) -> torch.Tensor:
    """Return k(u, v) = <grad f(u), grad f(v)> between images, the gradients being those of all parameters.

    Parameters
    ----------
    network : Module
        Maps images to logits; its parameters belong to layers of convolution (one group), linear layers and batch
        normalisations, each used once, whether they require gradients or not. It is left as it is: its mode does not
        count, `bn` does.
    images : Tensor, shape (n, channels, size, size)
        The rows of the kernel; in the range that the network takes, [0, 1] for a `nasbench_robust.networks.Network`.
    others : Tensor, shape (n2, channels, size, size), optional
        The columns; `images` again by default.
    output : str or int
        f: ``"sum"``, the sum of the logits; a class, its logit. ``"trace"``: the sum of the kernels of all logits.
        ``"full"``: the kernels between all logits.
    bn : str
        ``"eval"``: running statistics, which leave an untrained network without normalisation. ``"batch_frozen"``:
        those of the batch, as constants. ``"batch_coupled"``: those of the batch, with gradients through them, as
        networks in train mode have; the time is that of n + n2 backward passes over all samples. The batch is `images`
        and `others` together. The modes give different kernels and different rankings of cells, so there is no default.
    precision : str
        ``"fp32"``; ``"fp64"``; ``"mixed"``, fp32 but for the gradients of convolutions, which are formed in bfloat16.
        Sums over layers are formed in float64 always.
    engine : str
        ``"torch"``; ``"native"``, the C++ engine, for a `nasbench_robust.networks.Network` on a CPU in fp32 without
        coupled batch normalisation; ``"auto"``, the native one where it serves.
    budget_mib : float
        About how much memory to use for activations and gradients. Where the samples need more, they are taken in
        parts, and parts are passed through the network again for every pair of them.

    Returns
    -------
    Tensor of float64
        Of shape (n, n2); for ``"full"`` of shape (n, n2, classes, classes).

    Raises
    ------
    UnknownNameError, InvalidValueError
        If an argument is not as above.

    Notes
    -----
    The network's ReLUs make gradients jump where an input is zero, so fp32 forward passes are the floor: in bfloat16
    they change the kernel itself.
    """
    batch = _stacked(images, others, network)
    fixed = FixedNetwork(network, batch, bn=bn, precision=precision, engine=engine)
    return gram_matrix(fixed, images, others, output=output, budget_mib=budget_mib)


@pinned_float32()
def gram_matrix(
    fixed: FixedNetwork,
    images: torch.Tensor,
    others: torch.Tensor | None = None,
    *,
    output: str | int,
    budget_mib: float = 1024.0,
) -> torch.Tensor:
    """Return the kernel of a network that is fixed already; arguments, result and errors as of `ntk`."""
    if isinstance(output, bool) or (not isinstance(output, int) and output not in OUTPUTS):
        raise UnknownNameError("output", output, OUTPUTS)
    if not budget_mib > 0:
        raise InvalidValueError("budget_mib", budget_mib, "a positive number", "1024")
    batch = _stacked(images, others, fixed.module).detach().to(fixed.dtype)
    products = _Products(fixed, batch, budget_mib)
    left, right = len(images), 0 if others is None else len(images)
    if output == "full":
        owners, cotangents = _all_logits(len(batch), products.classes)
        size = products.classes
        full = products(owners, cotangents, range(left * size), range(right * size, len(owners)))
        return full.view(left, size, -1, size).transpose(1, 2).contiguous()
    chosen = torch.eye(products.classes) if output == "trace" else _cotangent(output, products.classes)[None]
    owners = list(range(len(batch)))
    kernels = [products(owners, one.expand(len(batch), -1), range(left), range(right, len(batch))) for one in chosen]
    return torch.stack(kernels).sum(0)


def _stacked(images: torch.Tensor, others: torch.Tensor | None, network: nn.Module) -> torch.Tensor:
    """Return rows and columns of the kernel as one batch."""
    check_batch("images", images, network)
    if others is None:
        return images
    check_batch("others", others, network, images.shape[1:])
    return torch.cat([images, others])


class _Products:
    """Scalar products of gradients for a batch, made in as few passes as the memory allows.

    A row is the gradient of ``logits(batch)[owner] @ cotangent``. A coupled row has every parameter, another one every
    value of the network.
    """

    def __init__(self, fixed: FixedNetwork, batch: torch.Tensor, budget_mib: float) -> None:
        self._fixed, self._batch = fixed, batch
        self._coupled = fixed.bn == "batch_coupled"
        self.classes, numbers = _probe(fixed.module, batch[:2])
        if self._coupled:
            numbers = sum(parameter.numel() for parameter in fixed.module.parameters())
        elif fixed.native is not None:
            numbers = fixed.native.values
        self._most = max(2, int(budget_mib * 2**20 / (numbers * batch.element_size())))  # rows at a time

    def __call__(self, owners: list[int], cotangents: torch.Tensor, rows: range, columns: range) -> torch.Tensor:
        cotangents = cotangents.to(self._batch)
        if not self._coupled and len(owners) > self._most:
            return self._in_parts(owners, cotangents, rows, columns)
        if self._coupled:
            every = contract_coupled(self._fixed.module, self._batch, cotangents, owners, self._most)
        else:
            every = self._contract(owners, cotangents)
        return every[rows.start : rows.stop, columns.start : columns.stop]

    def _in_parts(self, owners: list[int], cotangents: torch.Tensor, rows: range, columns: range) -> torch.Tensor:
        """Pass two parts at a time, of the rows and of the columns; of a symmetric kernel each pair once."""
        kernel = torch.empty(len(rows), len(columns), dtype=torch.float64, device=self._batch.device)
        step = max(1, self._most // 2)
        for a in range(0, len(rows), step):
            for b in range(a if rows == columns else 0, len(columns), step):
                first, second = list(rows[a : a + step]), list(columns[b : b + step])
                both = first if first == second else first + second
                block = self._contract([owners[row] for row in both], cotangents[both])
                products = block[: len(first), len(both) - len(second) :]
                kernel[a : a + len(first), b : b + len(second)] = products
                if rows == columns:
                    kernel[b : b + len(second), a : a + len(first)] = products.T
        return kernel

    def _contract(self, owners: list[int], cotangents: torch.Tensor) -> torch.Tensor:
        images, native = self._batch[owners], self._fixed.native
        if native is None:
            return contract_layers(self._fixed.module, images, cotangents, half=self._fixed.precision == "mixed")
        return torch.from_numpy(native.tangent_kernel(images.numpy(), cotangents.numpy()))


@torch.no_grad()
def _probe(twin: nn.Module, images: torch.Tensor) -> tuple[int, int]:
    """Return how many classes there are, and how many values the layers of the network have for an image."""
    values = [images[0].numel()]
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output: values.append(output[0].numel()))
        for module in twin.modules()
        if next(module.children(), None) is None
    ]
    try:
        logits = twin(images)
    finally:
        for hook in hooks:
            hook.remove()
    return logits.shape[1], sum(values)


def _cotangent(output: str | int, classes: int) -> torch.Tensor:
    if isinstance(output, str):
        return torch.ones(classes)
    if not 0 <= output < classes:
        raise InvalidValueError("output", output, f"a class in 0..{classes - 1}, or one of {', '.join(OUTPUTS)}")
    return torch.eye(classes)[output]


def _all_logits(samples: int, classes: int) -> tuple[list[int], torch.Tensor]:
    """Return a row for every logit of every sample, those of a sample together."""
    return [sample for sample in range(samples) for _ in range(classes)], torch.eye(classes).repeat(samples, 1)

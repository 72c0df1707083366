"""Training-free scores: each against an independent derivation, and what holds for all of them."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import seeded
from tiny_networks import CONVOLUTIONS, MIXED, batch, layers, make, value

from nasbench_robust.cells import Cell
from nasbench_robust.cells.cell import EDGES
from nasbench_robust.errors import InvalidValueError, UncomputableScoreError, UnknownNameError
from nasbench_robust.networks import Network, OperationCounter
from nasbench_robust.ntk import Value
from nasbench_robust.proxies import PROXIES, Proxy, score, scores
from nasbench_robust.proxies.inputs import agreement, expressivity
from nasbench_robust.proxies.preparing import training_copy

CUT = Cell(["nor_conv_3x3", "none", "skip_connect", "none", "none", "none"])
EMPTY = Cell(["none"] * 6)


def loss_and_gradients(network: Network) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return weights and the gradients that a backward pass through the network itself leaves on them."""
    images, labels = batch()
    mine = deepcopy(network).train()
    F.cross_entropy(mine(images), labels).backward()
    return [layer.weight.detach() for layer in layers(mine)], [layer.weight.grad for layer in layers(mine)]


# ---------------------------------------------------------------------- each against an independent derivation


@pytest.mark.parametrize("cell", [EMPTY, MIXED, CONVOLUTIONS], ids=str)
def test_params_and_flops_count_what_is_built(cell):
    network, counter = make(cell), OperationCounter()
    assert value("params", network) == sum(parameter.numel() for parameter in network.parameters())
    with counter:
        network(batch()[0])
    assert value("flops", network) == counter.flops / 2 / len(batch()[0])  # a multiplication and an addition each


def flow(network: Network, scaled: int | None = None) -> float:
    """Summed logits, less the part of the biases, of the linear network of absolute weights, written out on ones."""
    weights = [layer.weight.detach().abs() for layer in layers(network)]
    if scaled is not None:
        weights[scaled] = 2 * weights[scaled]
    left = iter(weights)

    def edge(operation: str, source: torch.Tensor) -> torch.Tensor:
        if operation == "none":
            return torch.zeros_like(source)
        if operation == "skip_connect":
            return source
        if operation == "avg_pool_3x3":
            ones = F.avg_pool2d(torch.ones_like(source), 3, 1, 1)
            return F.avg_pool2d(source, 3, 1, 1) / ones
        return F.conv2d(source, next(left), padding=int(operation == "nor_conv_3x3"))

    features = F.conv2d(torch.ones(1, 2, 8, 8, dtype=torch.float64), next(left), padding=1)
    for stage in range(3):
        nodes = [features, 0, 0, 0]
        for (source, target), operation in zip(EDGES, network.cell.operations, strict=True):
            nodes[target] = nodes[target] + edge(operation, nodes[source])
        features = nodes[3]
        if stage < 2:
            main = F.conv2d(F.conv2d(features, next(left), padding=1, stride=2), next(left), padding=1)
            features = main + F.conv2d(F.avg_pool2d(features, 2), next(left))
    return float((features.mean(dim=(2, 3)) @ next(left).T).sum())


@pytest.mark.parametrize("cell", [MIXED, CONVOLUTIONS, Cell.from_index(9930)], ids=str)
def test_synflow_sums_the_flow_through_every_weight(cell):
    network = make(cell)
    # The flow is linear in the weights of one layer: doubling them adds the sum of w dR/dw.
    expected = sum(flow(network, scaled=layer) - flow(network) for layer in range(len(layers(network))))
    assert value("synflow", network) == pytest.approx(expected, rel=1e-10)


def test_synflow_ignores_signs_and_scale_of_normalisation():
    network = make()
    before = value("synflow", network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(-1 if parameter.dim() > 1 else 3)
    assert value("synflow", network) == pytest.approx(before, rel=1e-12)


def test_grad_norm_and_snip_are_sums_over_the_gradients_of_a_backward_pass():
    network = make(CONVOLUTIONS)
    weights, gradients = loss_and_gradients(network)
    norms = [math.sqrt(float((gradient**2).sum())) for gradient in gradients]
    assert value("grad_norm", network) == pytest.approx(sum(norms), rel=1e-10)
    products = [float((w * g).abs().sum()) for w, g in zip(weights, gradients, strict=True)]
    assert value("snip", network) == pytest.approx(sum(products), rel=1e-10)


def test_grasp_is_the_hessian_by_finite_differences_of_the_gradient():
    network = make(CONVOLUTIONS)
    weights, gradients = loss_and_gradients(network)
    step = 1e-4 / math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
    sides = []
    for sign in (1, -1):
        moved = deepcopy(network)
        with torch.no_grad():
            for layer, gradient in zip(layers(moved), gradients, strict=True):
                layer.weight.add_(sign * step * gradient)
        sides.append(loss_and_gradients(moved)[1])
    products = [(up - down) / (2 * step) for up, down in zip(*sides, strict=True)]
    expected = -sum(float((w * product).sum()) for w, product in zip(weights, products, strict=True))
    assert value("grasp", network) == pytest.approx(expected, rel=1e-4)


def test_fisher_is_a_sum_over_layers_channels_and_images():
    network, (images, labels) = make(CONVOLUTIONS).train(), batch()
    expected = 0.0
    for layer in layers(network):
        kept: list[torch.Tensor] = []
        hook = layer.register_forward_hook(lambda _, __, output, kept=kept: kept.append(output))
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(images), labels), kept[0])
        activation = kept[0].detach()
        for channel in range(gradient.shape[1]):
            squares = [float((activation[n, channel] * gradient[n, channel]).sum()) ** 2 for n in range(len(images))]
            expected += layer.weight[channel].numel() * sum(squares) / len(images) / 2
        hook.remove()
    assert value("fisher", network) == pytest.approx(expected, rel=1e-10)


def test_jacob_cov_correlates_the_jacobians_of_the_images():
    network, (images, _) = make().train(), batch()
    std = np.array([0.4, 0.2]).repeat(64)
    rows = np.zeros((len(images), 128))
    for n in range(len(images)):
        for logit in range(3):  # of image n, to which all images contribute through the batch statistics
            pixels = images.clone().requires_grad_()
            network(pixels)[n, logit].backward()
            rows += pixels.grad.flatten(1).numpy() * std
    centred = rows - rows.mean(axis=1, keepdims=True)
    scale = np.sqrt((centred**2).sum(axis=1))
    correlation = np.array([[a @ b for b in centred] for a in centred]) / np.outer(scale, scale)
    eigenvalues = np.linalg.svd(correlation, compute_uv=False)  # of a positive matrix
    expected = -sum(math.log(v + 1e-5) + 1 / (v + 1e-5) for v in eigenvalues)
    assert value("jacob_cov", network) == pytest.approx(expected, rel=1e-8)


def test_naswot_counts_agreements_bit_by_bit():
    network, (images, _) = make(CONVOLUTIONS).train(), batch(4)
    codes = [""] * 4

    def write(_: torch.nn.Module, inputs: tuple[torch.Tensor], __: torch.Tensor) -> None:
        for n in range(4):
            codes[n] += "".join("1" if unit > 0 else "0" for unit in inputs[0][n].flatten().tolist())

    hooks = [m.register_forward_hook(write) for m in network.modules() if isinstance(m, torch.nn.ReLU)]
    network(images)
    for hook in hooks:
        hook.remove()
    units = len(codes[0])
    kernel = [[units - sum(p != q for p, q in zip(a, b, strict=True)) for b in codes] for a in codes]
    assert agreement(network, images).tolist() == kernel
    logarithm = math.log(abs(np.linalg.det(np.array(kernel) / units))) + 4 * math.log(units)
    assert value("naswot", network, count=4) == pytest.approx(logarithm, rel=1e-9)


def test_zen_adds_back_what_normalisation_divides_by():
    network = training_copy(make(Cell(["nor_conv_3x3", "nor_conv_1x1", "none", "nor_conv_3x3", "none", "none"])))
    images = torch.randn(6, 2, 8, 8, generator=seeded(3), dtype=torch.float64)
    moved = images + 0.01 * torch.randn(6, 2, 8, 8, generator=seeded(4), dtype=torch.float64)
    inputs, features = [], []
    for name, module in network.named_modules():
        if name == "last_activation":
            module.register_forward_hook(lambda _, __, out: features.append(out))
        # Edges 0->1 and 0->2 end in nodes that go nowhere.
        elif isinstance(module, torch.nn.BatchNorm2d) and "edges.0" not in name and "edges.1" not in name:
            module.register_forward_hook(lambda _, given, __: inputs.append(given[0]))
    with torch.no_grad():
        found = expressivity(network, images, moved)
        norms = (features[0] - features[1]).square().sum(dim=(1, 2, 3)).sqrt()
    first = inputs[: len(inputs) // 2]
    assert len(first) == 1 + 3 + 4 + 1
    scales = [math.sqrt(float(np.mean(given.numpy().var(axis=(0, 2, 3))))) for given in first]
    assert found == pytest.approx(math.log(float(norms.mean())) + sum(map(math.log, scales)), rel=1e-10)


def test_zen_does_not_depend_on_the_weights():
    assert value("zen", make(seed=0)) == value("zen", make(seed=1))


@torch.no_grad()
def test_zen_grows_by_the_logarithm_of_a_scale_that_normalisation_hides():
    network = training_copy(make())
    images = torch.randn(6, 2, 8, 8, generator=seeded(3), dtype=torch.float64)
    moved = images + 0.01 * images.flip(0)
    before = expressivity(network, images, moved)
    network.stem[0].weight.mul_(10)
    assert expressivity(network, images, moved) == pytest.approx(before + math.log(10), abs=1e-3)


# ---------------------------------------------------------------------- what holds for all


@pytest.mark.parametrize("name", [name for name in PROXIES if name != "zico"])  # it takes the first half and the rest
def test_the_order_of_the_images_does_not_matter(name):
    images, labels = batch()
    order = torch.tensor([3, 0, 4, 2, 1])
    one = score(make(), images, labels, name, seeded())
    assert score(make(), images[order], labels[order], name, seeded()) == pytest.approx(one, rel=1e-9)


@pytest.mark.parametrize("name", PROXIES)
def test_a_score_depends_on_its_generator_alone(name):
    network = make(CONVOLUTIONS).float()
    torch.manual_seed(1)
    one, state = value(name, network), torch.get_rng_state()
    torch.manual_seed(2)
    with torch.no_grad():  # the caller's context does not matter either
        assert value(name, network.eval()) == one
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_the_network_and_the_images_are_left_as_they_were(mode):
    network, (images, labels) = make(CONVOLUTIONS).train(mode), batch()
    network.cells[0].eval()
    network.classifier.weight.requires_grad_(False)
    F.cross_entropy(network(images), labels).backward()  # leaves gradients, and running statistics in train mode
    before, kept = deepcopy(network), images.clone()
    gradients = {
        name: parameter.grad.clone() for name, parameter in network.named_parameters() if parameter.requires_grad
    }
    scores(network, images, labels, adversarial=images.flip(0), generator=seeded())
    assert torch.equal(images, kept)
    assert not images.requires_grad
    for name, tensor in network.state_dict().items():
        assert torch.equal(before.state_dict()[name], tensor), name
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (name in gradients)
        assert torch.equal(parameter.grad, gradients[name]) if name in gradients else parameter.grad is None
    assert [module.training for module in before.modules()] == [module.training for module in network.modules()]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_scores_lists_clean_and_adversarial_values_of_one_function():
    network, (images, labels), generator = make(), batch(), seeded(7)
    adversarial = (images + 0.1).clamp(0, 1)
    rows = scores(network, images, labels, adversarial=adversarial, attack="pgd@0.1", generator=generator)
    assert [row.score for row in rows if row.attack is None] == list(PROXIES)
    attacked = [row.score for row in rows if row.attack == "pgd@0.1"]
    assert attacked == ["grad_norm", "snip", "grasp", "fisher", "jacob_cov", "naswot", "zico", "epe_nas", "swap"]
    for row in rows:
        looked_at = images if row.attack is None else adversarial
        assert (row.kernel, row.failure) == (None, None)
        assert row.seconds >= 0
        assert row.value == score(network, looked_at, labels, row.score, seeded(7))
    assert torch.equal(generator.get_state(), seeded(7).get_state())


def test_no_value_depends_on_what_else_is_asked_for(monkeypatch):
    def draw(_: Network, generator: torch.Generator) -> float:
        return float(torch.rand(1, generator=generator))

    for name in ("mine", "yours"):
        monkeypatch.setitem(PROXIES, name, Proxy(name, draw, "here", uses_images=False, uses_labels=False, draws=True))
    network = make()
    alone = {name: scores(network, *batch(), [name], generator=seeded(7))[0].value for name in ("zen", "mine", "yours")}
    for names in (["mine", "zen", "yours"], ["yours", "mine", "zen"]):
        rows = scores(network, *batch(), names, generator=seeded(7))
        assert {row.score: row.value for row in rows} == alone


def test_a_row_that_a_user_adds_is_a_proxy_like_the_others(monkeypatch):
    def brightness(_: Network, images: torch.Tensor) -> torch.Tensor:
        return images.mean()

    network, (images, labels) = make(), batch()
    monkeypatch.setitem(PROXIES, "bright", Proxy("bright", brightness, "here", uses_labels=False, needs_path=False))
    rows = scores(network, images, labels, ["bright"], adversarial=images / 2, generator=seeded())
    assert [row.value for row in rows] == [float(images.mean()), float(images.mean() / 2)]
    monkeypatch.setitem(PROXIES, "bright", Proxy("bright", lambda *_: Value.failed("it is dark"), "here"))
    assert scores(network, images, labels, ["bright"], generator=seeded())[0].failure == "it is dark"
    with pytest.raises(UncomputableScoreError, match="bright cannot be computed: it is dark"):
        score(network, images, labels, "bright", seeded())
    monkeypatch.setitem(PROXIES, "dim", Proxy("bright", brightness, "here"))
    with pytest.raises(InvalidValueError, match="the name of the proxy 'dim' is 'bright', expected its key in PROXIES"):
        score(network, images, labels, "dim", seeded())
    monkeypatch.undo()
    with pytest.raises(UnknownNameError):
        scores(network, images, labels, ["bright"], generator=seeded())


@pytest.mark.parametrize("name", PROXIES)
def test_the_catalogue_says_what_a_score_looks_at(name):
    network, (images, labels) = make(), batch(12)
    one = score(network, images, labels, name, seeded(7))
    assert (score(network, images.flip(3), labels, name, seeded(7)) != one) == PROXIES[name].uses_images
    assert (score(network, images, labels.roll(1), name, seeded(7)) != one) == PROXIES[name].uses_labels
    assert (score(network, images, labels, name, seeded(8)) != one) == PROXIES[name].draws
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.mul_(1.5)
    bypassed = score(network, images, labels, name, seeded(7)) == pytest.approx(one, rel=1e-12)
    sets_them_itself = name == "zen" or name.startswith("az_")
    assert bypassed == (PROXIES[name].normalisation != "batch statistics" or sets_them_itself)


# ---------------------------------------------------------------------- what cannot be computed


@pytest.mark.parametrize("cell", [EMPTY, CUT], ids=str)
def test_without_a_path_only_the_counts_have_a_value(cell):
    images, labels = batch()
    for row in scores(make(cell), images, labels, adversarial=images, generator=seeded()):
        assert (row.value is not None) == (row.score in ("params", "flops"))
        assert row.failure == (None if row.value else "the output does not depend on the input")


def failures(network: Network, images: torch.Tensor, labels: torch.Tensor) -> dict[str, str | None]:
    rows = scores(network, images, labels, generator=seeded())
    assert all((row.value is None) == (row.failure is not None) for row in rows)
    return {row.score: row.failure for row in rows}


def test_equal_images_make_the_kernel_of_codes_singular():
    images, labels = batch()
    images[1] = images[0]
    assert "the codes of the images are too much alike" in failures(make(), images, labels)["naswot"]


def test_a_network_without_relu_has_no_codes():
    network = make()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.ReLU):
                setattr(module, name, torch.nn.Identity())
    assert failures(network, *batch())["naswot"] == "the network has no ReLU"


@torch.no_grad()
def test_no_gradient_is_a_failure_and_not_a_zero():
    network = make()
    for layer in layers(network):
        layer.weight.zero_()
    found = failures(network, *batch())
    assert found["synflow"] == found["croze"] == "the gradient is zero everywhere"
    assert found["jacob_cov"] == "the Jacobian of an image is the same at every pixel"


@torch.no_grad()
@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_parameter_that_is_not_finite_is_a_failure(broken):
    network = make()
    network.stem[0].weight[0, 0, 0, 0] = broken
    found = failures(network, *batch())
    assert (found.pop("params"), found.pop("flops")) == (None, None)
    assert set(found.values()) == {"a parameter of the network is not finite"}


@torch.no_grad()
def test_values_and_logits_that_overflow_are_failures():
    network = make(CONVOLUTIONS)
    for layer in layers(network):
        layer.weight.mul_(1e60)
    assert failures(network, *batch())["synflow"] in ("the value is inf", "the value is nan")
    network = make(CONVOLUTIONS).float()
    network.classifier.weight.fill_(3e38)
    found = failures(network, *batch())
    for name in ("jacob_cov", "naswot", "snip"):
        assert found[name] in ("the logits are not finite", "the value is nan")


# ---------------------------------------------------------------------- arguments


def test_an_unknown_name_is_answered_by_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown proxy 'syn_flow'; did you mean 'synflow'"):
        score(make(), *batch(), "syn_flow", seeded())
    with pytest.raises(InvalidValueError, match=r"did you mean \['snip'\]"):
        scores(make(), *batch(), "snip", generator=seeded())


def test_arguments_of_another_kind_are_refused():
    network, (images, labels) = make(), batch()
    for given, sentence in [
        ((torch.nn.Linear(1, 1), images, labels), "network is Linear"),
        ((network, images[:, :1], labels), r"images is \(5, 1, 8, 8\), expected a tensor of floats of shape \(5, 2, 8"),
        ((network, images.numpy(), labels), "images is array"),
        ((network, images * 2 - 1, labels), "the range of images is .*expected pixels in \\[0, 1\\]"),
        ((network, images * math.nan, labels), "the range of images is 'nan..nan'"),
        ((network, images[:1], labels[:1]), "the number of images is 1, expected at least 2"),
        ((network, images, labels[:4]), "labels is .*expected a tensor of 5 int64"),
        ((network, images, labels + 1), "labels is .*expected 5 classes in 0..2"),
    ]:
        with pytest.raises(InvalidValueError, match=sentence):
            score(*given, "snip", seeded())
    with pytest.raises(InvalidValueError, match="no generator is given"):
        score(network, images, labels, "zen", None)
    with pytest.raises(InvalidValueError, match="adversarial is"):
        scores(network, images, labels, adversarial=images[:3], generator=seeded())

"""Difficulty of samples: gradient norms against one gradient a sample, rates and margins by hand."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.measures import difficulty

GOLDEN = Path(__file__).parents[1] / "golden"
SHARED = Path(__file__).parents[3] / "shared" / "golden"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small tensors, and test processes run side by side
    yield
    torch.set_num_threads(threads)


def one_at_a_time(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    model = copy.deepcopy(model).eval()
    norms = []
    for x, y in zip(images, labels, strict=True):
        loss = functional.cross_entropy(model(x[None]), y[None])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        norms.append(torch.cat([g.flatten() for g in gradients]).norm())
    return torch.stack(norms).detach()


class Flatten(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class Residual(nn.Module):
    """Works in place on a layer's output, like many residual networks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu_(self.norm(self.first(x)))
        out = self.second(x)
        out += x
        return self.last(torch.relu_(out).mean((2, 3)))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(48, 48), nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x.flatten(1)).tanh()
        return self.last(self.inner(x))


class OwnParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.last = nn.Parameter(torch.ones(48)), nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x.flatten(1) * self.scale)


class Tokens(nn.Module):
    """Linear layers over a sequence of positions, and a layer norm whose weight the positions share."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.last = nn.Linear(12, 5), nn.LayerNorm(5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.embed(x.reshape(len(x), 4, 12))).relu().mean(1))


def convolutional(**options: object) -> nn.Module:
    first = nn.Conv2d(3, 6, 3, **options)
    return nn.Sequential(first, nn.Tanh(), nn.AdaptiveAvgPool2d(2), Flatten(), nn.Linear(24, 4))


MODELS = {
    "linear": lambda: nn.Sequential(Flatten(), nn.Linear(48, 4)),
    "no bias": lambda: nn.Sequential(Flatten(), nn.Linear(48, 4, bias=False)),
    "convolution": lambda: convolutional(padding=1),
    "stride, dilation, groups": lambda: convolutional(padding=2, stride=2, dilation=2, groups=3, bias=False),
    "padding same": lambda: convolutional(padding="same"),
    "reflecting": lambda: convolutional(padding=1, padding_mode="reflect"),
    "norms": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(inplace=True), nn.LayerNorm([8, 4, 4]),
        nn.InstanceNorm2d(8, affine=True), nn.AvgPool2d(2), Flatten(), nn.Linear(32, 9), nn.BatchNorm1d(9),
        nn.Linear(9, 4),
    ),
    "residual in place": Residual,
    "layer used twice": Twice,
    "parameter of its own": OwnParameter,
    "tokens": Tokens,
}  # fmt: skip


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = MODELS[request.param]().double()
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return network


def batch(n: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(n, 3, 4, 4, generator=generator, dtype=torch.float64), torch.arange(n) % 4


def test_gradient_norms_equal_one_gradient_a_sample(model: nn.Module) -> None:
    images, labels = batch()
    expected = one_at_a_time(model, images, labels)
    torch.testing.assert_close(difficulty.gradient_norms(model, images, labels), expected, rtol=1e-10, atol=0)


def test_chunks_of_any_budget_give_the_same(model: nn.Module) -> None:
    images, labels = batch()
    whole = difficulty.gradient_norms(model, images, labels)
    torch.testing.assert_close(
        difficulty.gradient_norms(model, images, labels, memory=1), whole, rtol=1e-12, atol=0
    )


def test_slow_way_equals_fast_way() -> None:
    images, labels = batch()
    network = convolutional(padding=1).double()
    slow = difficulty._norms_one_by_one(network, images, labels, difficulty.MEMORY)
    torch.testing.assert_close(difficulty.gradient_norms(network, images, labels), slow, rtol=1e-10, atol=0)


@pytest.mark.parametrize("positions", [3, 50], ids=["Gram form", "weight form"])
def test_both_forms_of_the_convolution(positions: int) -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 1, positions, 20, generator=generator, dtype=torch.float64)
    d = torch.randn(2, 1, positions, 20, generator=generator, dtype=torch.float64)
    explicit = torch.einsum("ngpi,ngpo->ngio", a, d).square().sum((1, 2, 3))
    torch.testing.assert_close(difficulty._matrix_square(a, d)[0], explicit, rtol=1e-12, atol=0)


def test_frozen_and_training_models_are_left_as_found() -> None:
    images, labels = batch()
    network = Residual().double().train().requires_grad_(False)
    statistics = network.norm.running_mean.clone()
    norms = difficulty.gradient_norms(network, images, labels)
    assert network.training and network.norm.training
    assert torch.equal(network.norm.running_mean, statistics)
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())
    torch.testing.assert_close(norms, one_at_a_time(network.requires_grad_(True), images, labels))


def test_batch_norm_sample_does_not_depend_on_its_neighbours() -> None:
    images, labels = batch()
    network = Residual().double()
    together = difficulty.gradient_norms(network, images, labels)
    pairs = zip(images.split(1), labels.split(1), strict=True)
    alone = torch.cat([difficulty.gradient_norms(network, x, y) for x, y in pairs])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=0)


def test_no_gradient_is_left_behind_inside_no_grad() -> None:
    images, labels = batch()
    network = convolutional().double()
    with torch.no_grad():
        norms = difficulty.gradn(network, images, labels)
    assert not norms.requires_grad and all(p.grad is None for p in network.parameters())


def fixed(logits: list[list[float]]) -> nn.Module:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logits = nn.Parameter(torch.tensor(logits))

        def forward(self, x: Tensor) -> Tensor:
            return self.logits[x[:, 0].long()]

    return Fixed()


def test_rates_margins_and_el2n_by_hand() -> None:
    ensemble = [fixed([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]]), fixed([[0.0, 5.0, 1.0], [1.0, 1.5, 1.0]])]
    images, labels = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
    assert difficulty.misclassification_rate(ensemble, images, labels).tolist() == [0.5, 0.0]
    assert difficulty.margin(ensemble, images, labels).tolist() == [(1.0 - 5.0) / 2, (2.0 + 0.5) / 2]
    softmax = np.exp([2.0, 1.0, 0.0]) / np.exp([2.0, 1.0, 0.0]).sum()
    expected = np.linalg.norm(softmax - [1, 0, 0])
    single = ensemble[0]
    assert float(difficulty.el2n(single, images, labels)[0]) == pytest.approx(expected, rel=1e-6)
    assert float(difficulty.loss(single, images, labels)[0]) == pytest.approx(-np.log(softmax[0]), rel=1e-6)


def test_gradn_is_the_mean_over_models() -> None:
    images, labels = batch()
    ensemble = [convolutional().double() for _ in range(3)]
    expected = torch.stack([one_at_a_time(m, images, labels) for m in ensemble]).mean(0)
    torch.testing.assert_close(difficulty.gradn(ensemble, images, labels), expected, rtol=1e-10, atol=0)


def test_large_margin_is_small_gradient_norm_for_a_perceptron() -> None:
    """Logits +-beta z / 2: the gradient norm is |x| / (1 + exp(beta z)) times a constant, so ranks agree."""
    generator = torch.Generator().manual_seed(1)
    x = functional.normalize(torch.randn(200, 30, generator=generator, dtype=torch.float64))
    direction = torch.randn(30, generator=generator, dtype=torch.float64)
    probe = nn.Linear(30, 2, bias=False).double()
    with torch.no_grad():
        probe.weight.copy_(torch.stack([-direction, direction]))
    labels = torch.randint(2, (200,), generator=generator)
    z = (2 * labels - 1) * (x @ direction)
    norms = difficulty.gradient_norms(probe, x, labels)
    torch.testing.assert_close(norms, 2**0.5 / (1 + torch.exp(2 * z)), rtol=1e-10, atol=0)
    assert torch.equal(norms.argsort(), z.argsort(descending=True))
    assert torch.equal(difficulty.misclassification_rate(probe, x, labels) > 0, z < 0)


def test_bad_input_is_refused() -> None:
    images, labels = batch()
    with pytest.raises(ValueError, match="at least one model"):
        difficulty.gradn([], images, labels)
    with pytest.raises(ValueError, match="as many labels"):
        difficulty.gradn(convolutional().double(), images, labels[:-1])


GOLDEN_FILES = [path for folder in (GOLDEN, SHARED) for path in sorted(folder.glob("gm_*.npz"))]


@pytest.mark.skipif(not GOLDEN_FILES, reason="no golden files")
@pytest.mark.parametrize("path", GOLDEN_FILES, ids=lambda path: path.stem)
def test_golden_norms_of_single_samples(path: Path) -> None:
    data = np.load(path, allow_pickle=False)
    network = golden_network(data)
    images = torch.from_numpy(data["image_syn"])
    classes = len(data["grad_norm_per_class"])
    labels = torch.arange(classes).repeat_interleave(len(images) // classes)
    expected = torch.from_numpy(data["grad_norm_per_sample"])
    found = difficulty.gradient_norms(network, images, labels)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def golden_network(data: np.lib.npyio.NpzFile) -> nn.Module:
    """The ConvNet of a golden file's parameters, built from plain layers."""
    parameters = [torch.from_numpy(data[key]) for key in sorted(data.files) if key.startswith("param_")]
    layers: list[nn.Module] = []
    for block in range((len(parameters) - 2) // 4):
        width, channels = parameters[4 * block].shape[:2]
        padding = 3 if channels == 1 and block == 0 else 1
        layers += [nn.Conv2d(channels, width, 3, padding=padding), nn.GroupNorm(width, width), nn.ReLU()]
        layers += [nn.AvgPool2d(2)]
    layers += [Flatten(), nn.Linear(parameters[-2].shape[1], len(parameters[-1]))]
    network = nn.Sequential(*layers).double()
    with torch.no_grad():
        for own, value in zip(network.parameters(), parameters, strict=True):
            own.copy_(value)
    return network


MEASURES = ("misclassification_rate", "loss", "margin", "el2n", "gradn", "gradient_norms")
NOTHING = {
    "an image that is nan": (lambda x, y: (x.index_fill(0, torch.tensor([2]), torch.nan), y), "1 of 5 images"),
    "an infinite image": (lambda x, y: (x.index_fill(0, torch.tensor([0, 3]), -torch.inf), y), "2 of 5 images"),
    "a label beyond": (lambda x, y: (x, y + 2), r"0 \.\. 3.* largest 5"),
    "a negative label": (lambda x, y: (x, y - 1), "smallest -1"),
    "an absurd label": (lambda x, y: (x, y + 10**12), "largest 1000000000003"),
    "labels that are floats": (lambda x, y: (x, y.float()), "integers"),
    "labels that are truths": (lambda x, y: (x, y > 1), "integers"),
}


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("case", NOTHING)
@pytest.mark.parametrize("model", [Residual, lambda: nn.Sequential(Flatten(), Twice())], ids=["layers", "one by one"])
def test_no_number_comes_from_nothing(measure: str, case: str, model: Callable[[], nn.Module]) -> None:
    change, message = NOTHING[case]
    images, labels = change(torch.randn(5, 3, 4, 4), torch.tensor([0, 1, 2, 3, 3]))
    with pytest.raises(ValueError, match=message):
        getattr(difficulty, measure)(model(), images, labels)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_model_that_overflows_says_nothing_of_a_sample(measure: str) -> None:
    model = nn.Sequential(Flatten(), nn.Linear(48, 4))
    images = torch.randn(5, 3, 4, 4)
    images[1] = 3e38
    with torch.no_grad():
        model[1].weight.fill_(2.0)
    found = getattr(difficulty, measure)(model, images, torch.tensor([0, 1, 2, 3, 3]))
    assert found.isfinite().tolist() == [True, False, True, True, True]


def test_labels_of_any_integer_type_count_alike() -> None:
    images, labels = torch.randn(5, 3, 4, 4), torch.tensor([0, 1, 2, 3, 3])
    model = Residual()
    for measure in MEASURES:
        of = getattr(difficulty, measure)
        for dtype in (torch.uint8, torch.int32):
            assert torch.equal(of(model, images, labels.to(dtype)), of(model, images, labels))

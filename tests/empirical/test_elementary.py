"""Networks with convolutions, norms and poolings written out, against the library's, in float64."""

import pytest
import torch

from empirical import networks
from empirical.networks import Functional
from empirical.networks.elementary import elementary

# the first use of forward mode in a process makes the library warn of a deprecated function of its own
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")

CASES = {
    "convnet": {"width": 8},
    "convnet, groups": {"width": 8, "norm": "group"},
    "convnet, odd maps": {"width": 8, "shape": (3, 14, 18), "depth": 3},  # 7x9 and 3x4 behind the poolings
    "convnet, layer norm and max pooling": {"width": 8, "norm": "layer", "pooling": "max"},
    "vgg11": {"shape": (3, 32, 32)},
    "resnet18": {"width": 8, "shape": (3, 16, 16)},  # convolutions without biases, with strides
}


def case(name):
    """(network with no parameter at its initial 0 or 1, which would hide a missing one; images)."""
    options = dict(CASES[name])
    shape = options.pop("shape", (3, 16, 16))
    g = torch.Generator().manual_seed(3)
    network = networks.build(name.partition(",")[0], shape, 5, g, **options).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=g, dtype=torch.float64))
    return network, torch.randn(4, *shape, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_the_librarys(name):
    network, images = case(name)
    written = elementary(network)
    assert [n for n, _ in written.named_parameters()] == [n for n, _ in network.named_parameters()]
    theirs, ours = network(images), written(images)
    assert (ours - theirs).norm() < 1e-12 * theirs.norm()
    of_theirs = torch.autograd.grad(theirs.square().sum(), list(network.parameters()))
    of_ours = torch.autograd.grad(ours.square().sum(), list(written.parameters()))
    for a, b in zip(of_ours, of_theirs, strict=True):
        assert (a - b).norm() < 1e-10 * (b.norm() + 1)


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_are_the_librarys(name):
    """d <v, dL/dtheta> by reverse over forward mode, against double backward through the library's."""
    network, images = case(name)
    theirs, ours = Functional(network), Functional(elementary(network))
    theta = theirs.flatten([p.detach() for p in network.parameters()])
    v = torch.randn(theta.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def loss(functional, theta, images):
        return functional(functional.unflatten(theta), images).square().sum()

    at, x = theta.clone().requires_grad_(), images.clone().requires_grad_()
    (g,) = torch.autograd.grad(loss(theirs, at, x), at, create_graph=True)
    expected = torch.autograd.grad(g @ v, (at, x))

    def along(theta, images):
        return torch.func.jvp(lambda at: loss(ours, at, images), (theta,), (v,))[1]

    found = torch.func.grad(along, argnums=(0, 1))(theta, images)
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() < 1e-10 * b.norm()


def test_a_norm_of_maps_far_from_zero_does_not_cancel():
    network = networks.build("convnet", (3, 16, 16), 5, torch.Generator().manual_seed(5), width=8)
    with torch.no_grad():
        network.blocks[0].conv.bias += 1000.0  # of maps whose standard deviation is about 1
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(6))
    exact = network.double()(images.double())
    ours = elementary(network.float())(images)
    assert (ours - exact).norm() < 1e-3 * exact.norm()


def test_the_network_itself_is_not_changed():
    network = networks.build("convnet", (3, 8, 8), 3, width=4, depth=2)
    before = [type(module) for module in network.modules()]
    written = elementary(network)
    assert [type(module) for module in network.modules()] == before
    changed = sum(type(m) is not b for m, b in zip(written.modules(), before, strict=True))
    assert changed == 6  # of each block the convolution, the norm and the pooling

"""Networks with norms and poolings written out, against the library's, in float64."""

import pytest
import torch

from empirical import networks
from empirical.networks.elementary import elementary

CASES = {
    "convnet": {"width": 8},
    "convnet, groups": {"width": 8, "norm": "group"},
    "convnet, odd maps": {"width": 8, "shape": (3, 14, 18), "depth": 3},  # 7x9 and 3x4 behind the poolings
    "convnet, layer norm and max pooling": {"width": 8, "norm": "layer", "pooling": "max"},
    "vgg11": {"shape": (3, 32, 32)},
    "resnet18": {"width": 8, "shape": (3, 16, 16)},
}


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_the_librarys(name):
    options = dict(CASES[name])
    shape = options.pop("shape", (3, 16, 16))
    g = torch.Generator().manual_seed(3)
    network = networks.build(name.partition(",")[0], shape, 5, g, **options).double()
    with torch.no_grad():  # away from weight 1 and bias 0, which would hide a missing one
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=g, dtype=torch.float64)
    written = elementary(network)
    assert [n for n, _ in written.named_parameters()] == [n for n, _ in network.named_parameters()]
    images = torch.randn(4, *shape, generator=g, dtype=torch.float64)
    theirs, ours = network(images), written(images)
    assert (ours - theirs).norm() < 1e-12 * theirs.norm()
    of_theirs = torch.autograd.grad(theirs.square().sum(), list(network.parameters()))
    of_ours = torch.autograd.grad(ours.square().sum(), list(written.parameters()))
    for a, b in zip(of_ours, of_theirs, strict=True):
        assert (a - b).norm() < 1e-10 * (b.norm() + 1)


def test_the_network_itself_is_not_changed():
    network = networks.build("convnet", (3, 8, 8), 3, width=4, depth=2)
    before = [type(module) for module in network.modules()]
    written = elementary(network)
    assert [type(module) for module in network.modules()] == before
    assert sum(type(m) is not b for m, b in zip(written.modules(), before, strict=True)) == 4  # 2 norms, 2 poolings

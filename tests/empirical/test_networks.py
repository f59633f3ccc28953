import math

import pytest
import torch

from empirical import networks

COUNTS = {  # 10 classes; (1x28x28, 3x32x32)
    "convnet": (317_706, 320_010),
    "mlp": (118_282, 411_146),
    "lenet": (61_706, 62_006),
    "alexnet": (1_865_802, 1_872_202),
    "vgg11": (9_229_962, 9_231_114),
    "resnet18": (11_172_810, 11_173_962),
}


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_are_the_published_ones(name):
    assert parameters(networks.build(name, (1, 28, 28))) == COUNTS[name][0]
    assert parameters(networks.build(name, (3, 32, 32))) == COUNTS[name][1]


def test_depth_four_with_200_classes():
    assert parameters(networks.build("ConvNet-D4", (3, 64, 64), classes=200)) == 857_160


def test_one_channel_pads_by_three_whatever_the_size():
    assert (
        networks.build("convnet", (1, 16, 16)).classifier.in_features == 128 * 2 * 2
    )  # 16 -> 20 -> 10 -> 5 -> 2
    assert networks.build("convnet", (3, 28, 28)).classifier.in_features == 128 * 3 * 3  # 28 -> 14 -> 7 -> 3


@pytest.mark.parametrize("name", networks.names())
@pytest.mark.parametrize(
    "shape", [(1, 16, 16), (3, 16, 16), (1, 28, 28), (3, 32, 32), (3, 20, 28), (1, 64, 64), (3, 64, 64)]
)
def test_every_network_at_every_size(name, shape):
    network = networks.build(name, shape, classes=7)
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, features = network(images), network.features(images)
    assert logits.shape == (2, 7)
    assert features.shape == (2, network.classifier.in_features)
    torch.testing.assert_close(network.classifier(features), logits)
    assert (logits[0] - logits[1]).abs().max() > 1e-3, "the logits do not depend on the image"
    assert [name for name, _ in network.named_parameters()][-2:] == ["classifier.weight", "classifier.bias"]


@pytest.mark.parametrize("name", ["convnet", "mlp", "alexnet", "vgg11", "resnet18"])
def test_eight_pixel_digits(name):
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = networks.build(name, (1, 8, 8))(images)
    assert (logits[0] - logits[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"name": "convnet", "shape": (1, 8, 8), "depth": 5}, "largest depth is 3"),
        ({"name": "convnet", "shape": (3, 32, 32), "depth": 6}, "largest depth is 5"),
        ({"name": "lenet", "shape": (1, 8, 8)}, "too small for LeNet"),
        ({"name": "resnet19", "shape": (3, 32, 32)}, "nearest is 'resnet18'"),
        ({"name": "lenet", "shape": (1, 28, 28), "width": 3}, "no variant 'width'; it knows: activation"),
        ({"name": "convnet", "shape": (1, 28, 28), "norm": "instnace"}, "nearest is 'instance'"),
        ({"name": "convnet", "shape": (1, 28, 28), "width": 6, "norm": "group"}, "do not divide"),
        ({"name": "convnet", "shape": (1, 28, 28), "classes": 1}, "at least 2 classes"),
    ],
)
def test_refusals_are_one_sentence_with_the_remedy(request_, sentence):
    with pytest.raises(ValueError, match=sentence):
        networks.build(**request_)


@pytest.mark.parametrize("activation", ["relu", "leaky-relu", "sigmoid", "swish"])
@pytest.mark.parametrize("norm", ["instance", "batch", "layer", "group", "none"])
@pytest.mark.parametrize("pooling", ["average", "max", "none"])
def test_convnet_variants_run_forward_and_backward(activation, norm, pooling):
    network = networks.build(
        "convnet", (1, 16, 16), width=8, depth=2, activation=activation, norm=norm, pooling=pooling
    )
    network(torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", ["convnet", "lenet", "resnet18"])
def test_initialisation_follows_the_framework_law(name):
    network = networks.build(name, (3, 32, 32), generator=torch.Generator().manual_seed(5))
    for module in network.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for parameter in module.parameters(recurse=False):
                assert parameter.abs().max() <= bound
                if parameter.numel() > 1000:
                    assert parameter.abs().max() > 0.99 * bound
                    assert parameter.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        if isinstance(module, torch.nn.GroupNorm):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


def test_initialisation_leaves_the_global_generator_alone_and_repeats():
    before = torch.random.get_rng_state()
    one, two, other = (
        networks.build("convnet", (1, 28, 28), generator=torch.Generator().manual_seed(seed))
        for seed in (3, 3, 4)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


def test_the_same_seed_is_the_same_network_in_float64():
    single = networks.build("convnet", (1, 8, 8))
    double = networks.initialise(
        networks.build("convnet", (1, 8, 8)).double(), torch.Generator().manual_seed(0)
    )
    assert all(
        torch.equal(a, b.float()) for a, b in zip(single.parameters(), double.parameters(), strict=True)
    )


def test_many_networks_are_the_single_ones_stacked():
    network = networks.build("convnet", (1, 8, 8), width=8)
    stacked = networks.initialise_many(network, [torch.Generator().manual_seed(seed) for seed in range(3)])
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = networks.Functional(network).many(stacked, images, shared=True)
    for seed in range(3):
        networks.initialise(network, torch.Generator().manual_seed(seed))
        assert all(torch.equal(a[seed], b) for a, b in zip(stacked, network.parameters(), strict=True))
        torch.testing.assert_close(logits[seed], network(images))


def test_flat_vectors_and_lists_are_the_same_parameters():
    network = networks.build("convnet", (3, 16, 16), width=8)
    functional = networks.Functional(network)
    flat = functional.flatten(list(network.parameters()))
    assert flat.shape == (functional.size,)
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(functional(functional.unflatten(flat), images), network(images))
    stack = torch.stack([flat, flat + 1])
    assert torch.equal(functional.flatten(functional.unflatten(stack)), stack)


def test_a_layer_of_unknown_law_is_refused():
    with pytest.raises(ValueError, match="no default initialisation is known for Bilinear"):
        networks.initialise(torch.nn.Bilinear(2, 2, 2), torch.Generator())

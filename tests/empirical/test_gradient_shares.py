"""Shares of a mean gradient against a loop over single samples, in float64."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from empirical import networks
from empirical.evaluation.gradient_shares import as_one_vector, gradient_shares, row_by_row


def one_by_one(network, images, labels):
    parameters = list(network.parameters())
    rows = []
    for x, y in zip(images, labels, strict=True):
        rows.append(torch.autograd.grad(cross_entropy(network(x[None]), y[None]), parameters))
    return [torch.stack(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(
    ("name", "variant"),
    [("convnet", {"width": 8}), ("convnet", {"width": 8, "norm": "batch"}), ("mlp", {}), ("resnet18", {"width": 4})],
)
def test_shares_equal_a_loop_over_samples(name, variant):
    generator = torch.Generator().manual_seed(3)
    network = networks.build(name, (1, 16, 16), 4, generator, **variant).double().eval()
    images = torch.randn(7, 1, 16, 16, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 0, 1, 2, 3])
    found = gradient_shares(network, images, labels, {"vector": as_one_vector, "rows": row_by_row}, chunk=3)

    each = one_by_one(network, images, labels)
    flat = torch.cat([g.flatten(1) for g in each], 1)
    mean = flat.mean(0)
    expected = flat @ mean / (mean @ mean) / len(images)
    assert torch.allclose(found["vector"], expected, rtol=1e-9, atol=1e-12)

    weights = [g.flatten(2) for g in each if g.dim() > 2]
    parts = torch.cat([torch.einsum("nrk,rk->nr", g, g.mean(0)) / g.mean(0).square().sum(1) for g in weights], 1)
    expected = parts.nanmean(1) / len(images)  # rows without gradient are left out
    assert torch.allclose(found["rows"], expected, rtol=1e-9, atol=1e-12)
    for shares in found.values():
        assert float(shares.sum()) == pytest.approx(1.0, abs=1e-10)


def test_rows_without_gradient_have_no_say():
    gradient = [torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([1.0, 2.0])]
    assert torch.equal(row_by_row(gradient)[0], torch.tensor([[3 / 25, 4 / 25], [0.0, 0.0]]))
    assert torch.equal(row_by_row(gradient)[1], torch.zeros(2))
    assert not torch.cat(as_one_vector([torch.zeros(3)])).any()


def test_refusals():
    network = networks.build("mlp", (1, 8, 8), 3)
    images, labels = torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"eval\(\)"):
        gradient_shares(network.train(), images, labels, {"vector": as_one_vector})
    with pytest.raises(ValueError, match="as many labels"):
        gradient_shares(network.eval(), images, labels[:1], {"vector": as_one_vector})

"""Shares of samples in an expert's way: nothing is left over, and they are those of a loop over single samples."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from empirical.evaluation.segment_shares import Plain, segment_shares


def problem() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)).double().eval()
    return network, torch.randn(30, 1, 4, 4).double(), torch.arange(30) % 3


def drawn() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_shares_add_up_to_the_whole_way() -> None:
    network, images, labels = problem()
    found = segment_shares(network, images, labels, Plain(5, 0.3, 8), [(0, 1), (1, 4), (0, 5)], drawn())
    assert found.sum(1) == pytest.approx(torch.ones(3, dtype=torch.double), abs=1e-12)


def test_shares_are_those_of_a_loop_over_single_samples() -> None:
    network, images, labels = problem()
    recipe, start = Plain(2, 0.3, 8), [p.detach().clone() for p in network.parameters()]
    (found,) = segment_shares(network, images, labels, recipe, [(0, 2)], drawn())
    way = [p.detach() - a for p, a in zip(network.parameters(), start, strict=True)]
    for p, a in zip(network.parameters(), start, strict=True):
        p.data.copy_(a)
    expected, generator = torch.zeros(30).double(), drawn()
    for order in [torch.randperm(30, generator=generator) for _ in range(2)]:
        for batch in order.split(8):
            moves = []
            for i in batch.tolist():
                loss = cross_entropy(network(images[i : i + 1]), labels[i : i + 1])
                own = torch.autograd.grad(loss, list(network.parameters()))
                moves.append([-0.3 / len(batch) * g for g in own])
                expected[i] += sum((m * w).sum() for m, w in zip(moves[-1], way, strict=True))
            for k, p in enumerate(network.parameters()):
                p.data += sum(move[k] for move in moves)
    assert found == pytest.approx(expected / sum(w.square().sum() for w in way), abs=1e-12)


@pytest.mark.parametrize("segment", [(0, 6), (2, 2), (-1, 1)])
def test_a_segment_outside_of_the_training_is_refused(segment: tuple[int, int]) -> None:
    network, images, labels = problem()
    with pytest.raises(ValueError, match="is not within 5 epochs"):
        segment_shares(network, images, labels, Plain(5), [segment], drawn())


def test_where_nothing_moves_no_sample_has_a_share() -> None:
    network, images, labels = problem()
    with pytest.raises(ValueError, match="did not move"):
        segment_shares(network, images, labels, Plain(1, 0.0), [(0, 1)], drawn())

"""The correction in a gradient-matching loop of your own: two lines, marked. Plain PyTorch on the bundled digits."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from empirical.correction import SampleDifficultyCorrection


def distil(coefficient: float, steps: int = 60, seed: int = 0) -> tuple[torch.Tensor, list[float]]:
    """Learn one 8x8 image a class; returns the images [10, 64] and the gradient norm at every step."""
    torch.manual_seed(seed)
    bunch = load_digits()
    real = torch.tensor(bunch.data / 16.0, dtype=torch.float32)
    labels = torch.tensor(bunch.target)
    synthetic = torch.randn(10, 64).mul(0.1).requires_grad_()
    targets = torch.arange(10)
    optimiser = torch.optim.SGD([synthetic], lr=0.5, momentum=0.5)
    sdc = SampleDifficultyCorrection(coefficient)  # <- one
    norms = []
    for step in range(steps):
        network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        parameters = list(network.parameters())
        batch = torch.randperm(len(real))[:512]
        of_real = torch.autograd.grad(cross_entropy(network(real[batch]), labels[batch]), parameters)
        loss = cross_entropy(network(synthetic), targets)
        of_synthetic = torch.autograd.grad(loss, parameters, create_graph=True)
        matching = sum(((a - b) ** 2).sum() for a, b in zip(of_real, of_synthetic, strict=True))
        penalty, norm = sdc.measured(of_synthetic, step)  # or sdc(of_synthetic, step), the penalty alone
        total = matching + penalty  # <- two
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        norms.append(float(norm))
    return synthetic.detach(), norms


if __name__ == "__main__":
    for coefficient in (0.0, 0.1):
        images, norms = distil(coefficient)
        print(f"lambda {coefficient:g}: gradient norm of the synthetic set {norms[0]:.3f} -> {norms[-1]:.3f}")

"""Mean features of each class, and the derivative of a distance between them, in passes of any size.

    loss = sum over classes c of |mean f(x) over S_c - target_c|^2,      f: activations before the last linear layer

The derivative of the loss in an image is J' 2 (mean_c - target_c) / n_c, with J that image's own Jacobian; so images
may go through the network a few at a time, once for the means and once more for the derivative, and the result is that
of one pass over all.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from empirical.networks import Classifier
from empirical.runtime.threads import shared_out


@torch.no_grad()
def mean_features(network: Classifier, images: Tensor, weights: Tensor | None, size: int) -> Tensor:
    """Mean features of each class, [C, features], without a graph.

    Args:
        network: in the mode that it is to be used in.
        images: [C, n, channels, height, width].
        weights: [C, n], of each image in its class's mean; None: 1 / n.
        size: most images of one pass; on a CPU several passes run side by side, a thread each.

    """
    classes, count = images.shape[:2]
    if weights is None:
        weights = torch.full((classes, count), 1 / count, dtype=images.dtype, device=images.device)
    parts = [(c, start) for c in range(classes) for start in range(0, count, size)]

    def part(place: tuple[int, int]) -> Tensor:
        c, start = place
        found: Tensor = weights[c, start : start + size].to(images.dtype) @ network.features(
            images[c, start : start + size]
        )
        return found

    if images.device.type != "cpu" or torch.get_num_threads() == 1:
        sums = [part(place) for place in parts]
    else:
        with (
            shared_out(len(parts)) as (workers, set_share),
            ThreadPoolExecutor(workers, initializer=set_share) as pool,
        ):
            sums = list(pool.map(part, parts))
    # `part` runs in threads, which do not know this function's `no_grad`.
    each = torch.stack([s.detach() for s in sums]).unflatten(0, (classes, -1))
    return each.sum(1)


def distance_of_means(network: Classifier, images: Tensor, target: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The loss above and its derivative in the images.

    Args:
        network: whose parameters ask for no gradient.
        images: [C, n, channels, height, width].
        target: [C, features].
        size: most images whose graph is kept at once; all go through in one pass if they are no more.

    Returns:
        Scalar and tensor of the images' shape, both detached.

    """
    classes, count = images.shape[:2]
    if classes * count <= size:
        leaf = images.detach().requires_grad_()
        means = network.features(leaf.flatten(0, 1)).unflatten(0, (classes, count)).mean(1)
        loss = (means - target).square().sum()
        (found,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), found
    difference = mean_features(network, images.detach(), None, size) - target
    cotangent = (2 / count * difference)[:, None].expand(-1, count, -1).flatten(0, 1)
    parts = []
    for x, u in zip(images.detach().flatten(0, 1).split(size), cotangent.split(size), strict=True):
        leaf = x.detach().requires_grad_()
        parts.append(torch.autograd.grad(network.features(leaf), leaf, u)[0])
    return difference.square().sum(), torch.cat(parts).view(images.shape)

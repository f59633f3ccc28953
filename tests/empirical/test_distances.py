import pytest
import torch

from empirical.correction import Gradients
from empirical.gradient_matching.distances import DISTANCES, EPSILON, cosine, layerwise, mse

SHAPES = [(4, 3, 2, 2), (4,), (6, 5), (6,), (3, 2, 2)]


def gradients(seed, classes=None):
    generator = torch.Generator().manual_seed(seed)
    lead = () if classes is None else (classes,)
    return [torch.randn(*lead, *shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def test_layerwise_is_a_sum_over_rows_of_parameters_of_two_or_more_dimensions():
    a, b = gradients(0), gradients(1)
    expected = 0.0
    for index, rows in ((0, 4), (2, 6), (4, 3)):
        x, y = a[index].reshape(rows, -1), b[index].reshape(rows, -1)
        for r in range(rows):
            expected += 1 - x[r] @ y[r] / (x[r].norm() * y[r].norm() + EPSILON)
    assert layerwise(a, b).item() == pytest.approx(expected.item(), rel=1e-13)


def test_one_dimensional_parameters_count_nothing_in_layerwise_and_all_in_the_others():
    a, b = gradients(0), gradients(1)
    changed = [g + 1 if g.dim() == 1 else g for g in a]
    assert torch.equal(layerwise(a, b), layerwise(changed, b))
    assert mse(a, b) != mse(changed, b)
    assert cosine(a, b) != cosine(changed, b)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_class_axis_is_a_loop_over_classes(name):
    distance, a, b = DISTANCES[name], gradients(0, classes=3), gradients(1, classes=3)
    each = distance(a, b, leading=1)
    assert torch.equal(each, distance(Gradients(a, 1), b))
    for c in range(3):
        torch.testing.assert_close(
            each[c], distance([g[c] for g in a], [g[c] for g in b]), rtol=1e-13, atol=0
        )


@pytest.mark.parametrize("name", DISTANCES)
def test_gradient_is_that_of_finite_differences(name):
    b = gradients(1)
    leaves = [g.requires_grad_() for g in gradients(0)]
    assert torch.autograd.gradcheck(lambda *a: DISTANCES[name](a, b), leaves)


def test_a_row_of_zeros_gives_one_and_no_nan():
    a, b = [torch.zeros(2, 3, requires_grad=True)], [torch.ones(2, 3)]
    value = layerwise(a, b)
    assert value == 2
    (gradient,) = torch.autograd.grad(value, a)
    # The norm's derivative at 0 is 0, so only the inner product is left: -B / (0 + 1e-6).
    torch.testing.assert_close(gradient, -torch.ones(2, 3) / EPSILON)
    (other,) = torch.autograd.grad(layerwise([b[0].requires_grad_()], [torch.zeros(2, 3)]), b)
    assert torch.equal(other, torch.zeros(2, 3))


def test_the_constant_is_added_to_the_product_of_norms():
    a = [torch.full((1, 4), 5e-4, dtype=torch.float64)]  # norm 1e-3
    assert layerwise(a, a).item() == pytest.approx(0.5)


def test_biases_alone_have_no_layerwise_distance():
    with pytest.raises(ValueError, match="two or more dimensions"):
        layerwise([torch.ones(3)], [torch.ones(3)])

import math
import subprocess
import sys

import pytest
import torch

from empirical.correction import AdaptiveSampleDifficultyCorrection, Gradients, SampleDifficultyCorrection

SHAPES = [(4, 3, 2, 2), (4,), (5, 16), (5,)]


def leaves(classes=None, samples=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lead = tuple(n for n in (classes, samples) if n is not None)
    return [
        torch.randn(*lead, *shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in SHAPES
    ]


def vector(gradients):
    return torch.cat([g.flatten() for g in gradients])


def test_one_gradient_is_lambda_times_its_norm_over_all_parameters():
    sdc, gradients = SampleDifficultyCorrection(0.5), leaves()
    assert sdc(gradients, 3).item() == pytest.approx(0.5 * vector(gradients).norm().item(), rel=1e-14)
    penalty, norm = sdc.measured(gradients, 3)
    assert torch.equal(penalty, sdc(gradients, 3))
    assert norm == pytest.approx(vector(gradients).norm().item(), rel=1e-14)
    assert not norm.requires_grad
    assert torch.equal(norm, sdc.norm([g.detach() for g in gradients]))


def test_classes_are_summed_and_a_class_axis_equals_a_list_of_lists():
    stacked = leaves(classes=3)
    each = [vector([g[c] for g in stacked]).norm().item() for c in range(3)]
    sdc = SampleDifficultyCorrection(2.0)
    by_mark, by_argument = sdc(Gradients(stacked, 1)), sdc(stacked, leading=1)
    by_list = sdc([[g[c] for g in stacked] for c in range(3)])
    assert by_mark.item() == pytest.approx(2 * sum(each), rel=1e-14)
    assert torch.equal(by_mark, by_argument)
    assert torch.equal(by_mark, by_list)
    assert sdc.measured(Gradients(stacked, 1)).norm == pytest.approx(sum(each) / 3, rel=1e-14)
    mean = SampleDifficultyCorrection(2.0, over_classes="mean")(Gradients(stacked, 1))
    assert mean.item() == pytest.approx(2 * sum(each) / 3, rel=1e-14)


def test_settings_change_what_they_name():
    gradients = leaves()
    norms = [g.norm().item() for g in gradients]
    total = math.sqrt(sum(n * n for n in norms))
    assert SampleDifficultyCorrection(1, power=2)(gradients).item() == pytest.approx(total**2)
    assert SampleDifficultyCorrection(1, parameters="sum_of_layers")(gradients).item() == pytest.approx(
        sum(norms)
    )
    weights = SampleDifficultyCorrection(1, parameters="weights_only")(gradients)
    assert weights.item() == pytest.approx(math.hypot(norms[0], norms[2]))


def test_weights_are_told_from_biases_behind_leading_axes():
    stacked = leaves(classes=3)
    sdc = SampleDifficultyCorrection(1, parameters="weights_only")
    expected = sum(math.hypot(stacked[0][c].norm().item(), stacked[2][c].norm().item()) for c in range(3))
    assert sdc(Gradients(stacked, 1)).item() == pytest.approx(expected)


def test_single_samples():
    gradients = Gradients(leaves(classes=2, samples=3), 2)
    norms = [[vector([g[c, i] for g in gradients]).norm().item() for i in range(3)] for c in range(2)]
    per_sample = SampleDifficultyCorrection(1, reduction="per_sample")(gradients)
    assert per_sample.item() == pytest.approx(sum(map(sum, norms)) / 3)
    batch = SampleDifficultyCorrection(1)(gradients)
    expected = [vector([g[c].mean(0) for g in gradients]).norm().item() for c in range(2)]
    assert batch.item() == pytest.approx(sum(expected))
    with pytest.raises(ValueError, match="single samples"):
        SampleDifficultyCorrection(1, reduction="per_sample")(Gradients(leaves(classes=2), 1))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"power": 2},
        {"parameters": "sum_of_layers"},
        {"parameters": "weights_only"},
        {"over_classes": "mean"},
    ],
)
def test_derivative_and_cotangent_are_those_of_finite_differences(settings):
    sdc = SampleDifficultyCorrection(0.3, **settings)
    stacked = leaves(classes=2)
    assert torch.autograd.gradcheck(lambda *g: sdc(Gradients(g, 1), 0), stacked)
    found = torch.autograd.grad(0.25 * sdc(Gradients(stacked, 1)), stacked, materialize_grads=True)
    cotangent = sdc.cotangent(Gradients([g.detach() for g in stacked], 1), share=0.25)
    assert all(torch.equal(a, b) for a, b in zip(found, cotangent, strict=True))


def test_the_cotangent_of_a_flat_vector_is_its_direction():
    g = torch.randn(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (found,) = SampleDifficultyCorrection(0.02).cotangent([g], share=0.1)
    torch.testing.assert_close(found, 0.02 * 0.1 * g / g.norm())
    assert SampleDifficultyCorrection(0.0).cotangent([g]) is None


def test_a_zero_gradient_has_a_zero_derivative():
    gradients = [torch.zeros(2, *shape, requires_grad=True) for shape in SHAPES]
    SampleDifficultyCorrection(1.0)(Gradients(gradients, 1)).backward()
    assert all((g.grad == 0).all() for g in gradients)


def test_coefficient_zero_adds_no_graph_and_still_measures():
    sdc, gradients = SampleDifficultyCorrection(0), leaves()
    value = sdc(gradients)
    assert value == 0
    assert not value.requires_grad
    assert sdc.measured(gradients).norm > 0


def test_forgotten_graph_is_an_error():
    with pytest.raises(ValueError, match="create_graph=True"):
        SampleDifficultyCorrection(0.1)([g.detach() for g in leaves()])
    with pytest.raises(ValueError, match="empty"):
        SampleDifficultyCorrection(0.1)([])


def test_geometric_schedule_is_straight_in_the_logarithm_and_then_constant():
    asdc = AdaptiveSampleDifficultyCorrection(0.002, 0.008, steps=10_000)
    assert [asdc.coefficient_at(t) for t in (0, 5000, 10_000, 20_000)] == pytest.approx(
        [0.002, 0.004, 0.008, 0.008]
    )
    gradients = leaves()
    assert asdc(gradients, 5000).item() == pytest.approx(0.004 * vector(gradients).norm().item())


def test_concave_schedule():
    asdc = AdaptiveSampleDifficultyCorrection(1.0, 3.0, steps=99, shape="concave")
    assert [asdc.coefficient_at(t) for t in (0, 9, 99)] == pytest.approx([1, 2, 3])


def test_end_of_the_schedule_on_request():
    asdc = AdaptiveSampleDifficultyCorrection(1, 2, 10, stop_at_end=True)
    assert asdc.coefficient_at(10) == 2
    with pytest.raises(ValueError, match="step 11 is beyond"):
        asdc.coefficient_at(11)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: AdaptiveSampleDifficultyCorrection(0, 1, 10), "neither 0"),
        (lambda: AdaptiveSampleDifficultyCorrection(-1, 1, 10), "one sign"),
        (lambda: AdaptiveSampleDifficultyCorrection(1, 2, 0), "at least 1 step"),
        (lambda: AdaptiveSampleDifficultyCorrection(1, 2, 5, shape="log"), "shape"),
        (lambda: SampleDifficultyCorrection(1, power=3), "power"),
        (lambda: SampleDifficultyCorrection(1, over_classes="max"), "over_classes"),
        (lambda: SampleDifficultyCorrection(1, parameters="biases"), "parameters"),
        (lambda: SampleDifficultyCorrection(math.nan), "finite"),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_negative_coefficients_are_allowed_with_a_warning():
    with pytest.warns(UserWarning, match="harder"):
        sdc = SampleDifficultyCorrection(-0.1)
    gradients = leaves()
    assert sdc(gradients).item() == pytest.approx(-0.1 * vector(gradients).norm().item())


def test_it_needs_torch_and_nothing_else_of_the_package():
    code = "import sys, empirical.correction; print([m for m in sys.modules if m.startswith('empirical.')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['empirical.correction']"

import math

import pytest
import torch

from empirical.data import augmentation
from empirical.data.augmentation import OPERATIONS, WITH_FLIP, WITHOUT_FLIP, Draw, apply, draw, parse_strategy
from empirical.data.condensation_augmentation import (
    WITH_BATCH_NORM,
    WITHOUT_BATCH_NORM,
    CondensationAugmentation,
    CondensationDraw,
)
from empirical.data.registry import SPECS


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def one(name, *parameters):
    """A shared draw of one operation for one group."""
    return Draw((name,), torch.tensor([[[*parameters, 0.0, 0.0, 0.0][:3]]]))


@pytest.mark.parametrize("name", WITH_FLIP)
def test_siamese_use_treats_two_batches_alike(name):
    drawn = draw(rng(3), (name,), (8, 8))
    real, synthetic = pictures(5, 3, 8, 8), pictures(2, 3, 8, 8, seed=1)
    together = apply(drawn, torch.cat([real, synthetic]))
    torch.testing.assert_close(apply(drawn, real), together[:5], rtol=0, atol=1e-12)
    torch.testing.assert_close(apply(drawn, synthetic), together[5:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", WITH_FLIP)
@pytest.mark.parametrize("count", [None, 2])
def test_gradient_is_that_of_finite_differences(name, count):
    drawn = draw(rng(5), (name,), (6, 6), groups=2, images=count)
    images = pictures(2, 2, 2, 6, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: apply(drawn, x), (images,))


@pytest.mark.parametrize("name", WITH_FLIP)
def test_parameters_stay_in_range_and_reach_the_extremes(name):
    values = draw(rng(), (name,), (28, 28), groups=40_000).parameters[:, 0]
    ranges = {
        "color": [(-0.5, 0.5), (0, 2), (0.5, 1.5)],
        "crop": [(-4, 4)] * 2,
        "cutout": [(-7, 21)] * 2,  # side 14: centres 0 .. 28
        "flip": [(0, 1)],
        "scale": [(1 / 1.2, 1.2)] * 2,
        "rotate": [(-math.radians(15), math.radians(15))],
    }[name]
    for column, (low, high) in enumerate(ranges):
        assert values[:, column].min().item() == pytest.approx(low, abs=2e-3)
        assert values[:, column].max().item() == pytest.approx(high, abs=2e-3)
        assert values[:, column].mean().item() == pytest.approx((low + high) / 2, abs=0.02 * (high - low))


@pytest.mark.parametrize(("side", "shift"), [(28, 4), (32, 4), (64, 8), (8, 1)])
def test_crop_shift_follows_the_size(side, shift):
    values = draw(rng(), ("crop",), (side, side), groups=2000).parameters
    assert values.abs().max() == shift
    assert torch.equal(values, values.round())


def test_odd_cutout_centres_stop_at_the_last_pixel():
    first = draw(rng(), ("cutout",), (10, 10), groups=5000).parameters[:, 0, 0]  # side 5, centres 0 .. 9
    assert (first.min(), first.max()) == (-2, 7)


def test_numbers_at_the_ends_of_the_unit_interval_stay_in_range():
    u = torch.tensor([[0.0, 0.0, 0.0], [1 - 2**-24] * 3])
    assert OPERATIONS["crop"].parameters(u, (32, 32))[:, :2].tolist() == [[-4, -4], [4, 4]]
    assert OPERATIONS["cutout"].parameters(u, (32, 32))[:, :2].tolist() == [[-8, -8], [24, 24]]


def test_color_is_brightness_then_saturation_then_contrast():
    x = pictures(2, 3, 4, 4)
    expected = x + 0.2
    grey = expected.mean(1, keepdim=True)
    expected = grey + 1.7 * (expected - grey)
    mean = expected.mean((1, 2, 3), keepdim=True)
    expected = mean + 0.6 * (expected - mean)
    torch.testing.assert_close(apply(one("color", 0.2, 1.7, 0.6), x), expected, rtol=0, atol=1e-6)


def test_saturation_leaves_one_channel_alone():
    x = pictures(2, 1, 4, 4)
    torch.testing.assert_close(apply(one("color", 0.0, 0.1, 1.0), x), x, rtol=0, atol=1e-12)


def test_crop_shifts_and_fills_with_zero():
    x = pictures(1, 2, 5, 5)
    out = apply(one("crop", 1, -2), x)
    expected = torch.zeros_like(x)
    expected[:, :, :4, 2:] = x[:, :, 1:, :3]
    assert torch.equal(out, expected)


def test_cutout_is_a_square_clipped_at_the_border():
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    inner, corner = apply(one("cutout", 2, 3), x), apply(one("cutout", -2, 6), x)
    assert (inner[0, 0, 2:6, 3:7] == 0).all()
    assert inner.sum() == 64 - 16
    assert (corner[0, 0, :2, 6:] == 0).all()
    assert corner.sum() == 64 - 4


def test_flip_mirrors_columns():
    x = pictures(3, 2, 4, 4)
    assert torch.equal(apply(one("flip", 1), x), x.flip(-1))
    assert torch.equal(apply(one("flip", 0), x), x)


def test_scale_above_one_shrinks_the_picture():
    x = torch.ones(1, 1, 12, 12, dtype=torch.float64)
    assert apply(one("scale", 1.2, 1.2), x).sum() == pytest.approx(100, rel=0.02)
    assert apply(one("scale", 1 / 1.2, 1 / 1.2), x).sum() == pytest.approx(144)
    wide = apply(one("scale", 1.2, 1.0), x)
    assert wide[0, 0, :, 0].max() < 0.5, "the first factor belongs to the columns"
    assert wide[0, 0, 0, 6] == pytest.approx(1)


def test_rotation_turns_about_the_centre_and_back():
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 33, dtype=torch.float64)] * 2, indexing="ij")
    blob = torch.exp(-20 * ((x - 0.4) ** 2 + y**2))[None, None]
    angle = math.radians(15)
    turned = apply(one("rotate", angle), blob)[0, 0]
    centre = torch.stack([(turned * x).sum(), (turned * y).sum()]) / turned.sum()
    assert centre.norm() == pytest.approx(0.4, abs=0.01)
    assert math.atan2(-centre[1], centre[0]) == pytest.approx(angle, abs=0.01)
    torch.testing.assert_close(apply(one("rotate", -angle), turned[None, None]), blob, rtol=0, atol=0.08)


def test_rotation_of_a_wide_image_keeps_shapes():
    y, x = torch.meshgrid(torch.arange(20.0) - 9.5, torch.arange(40.0) - 19.5, indexing="ij")
    disc = torch.exp(-(x**2 + y**2) / 20)[None, None].double()
    torch.testing.assert_close(apply(one("rotate", 0.26), disc), disc, rtol=0, atol=0.02)


def test_one_call_for_all_classes_equals_a_loop_over_classes():
    drawn = draw(rng(1), WITH_FLIP, (8, 8), groups=12)
    assert len(set(drawn.operations)) > 3
    images = pictures(12, 3, 2, 8, 8)
    for group in range(12):
        alone = Draw(drawn.operations[group : group + 1], drawn.parameters[group : group + 1])
        torch.testing.assert_close(
            apply(drawn, images)[group], apply(alone, images[group]), rtol=0, atol=1e-12
        )


def test_network_training_draws_one_operation_a_batch_with_parameters_of_each_image():
    drawn = draw(rng(2), WITHOUT_FLIP, (8, 8), images=50)
    assert len(drawn.operations) == 1
    assert drawn.parameters.shape == (1, 50, 3)
    assert len(drawn.parameters[0, :, 0].unique()) > 1
    images = pictures(50, 1, 8, 8)
    alone = Draw(drawn.operations, drawn.parameters[:, 7:8])
    torch.testing.assert_close(apply(drawn, images)[7], apply(alone, images[7:8])[0], rtol=0, atol=1e-12)


def test_operations_are_drawn_uniformly_and_only_from_the_strategy():
    operations = draw(rng(), WITHOUT_FLIP, (8, 8), groups=5000).operations
    assert set(operations) == set(WITHOUT_FLIP)
    assert all(abs(operations.count(name) - 1000) < 4 * math.sqrt(5000 * 0.2 * 0.8) for name in WITHOUT_FLIP)


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.name)
def test_digits_are_never_flipped_and_pictures_of_things_are(spec):
    digits = {"digits", "mnist", "svhn"}
    assert augmentation.default_strategy(spec.flip) == (WITHOUT_FLIP if spec.name in digits else WITH_FLIP)


def test_a_draw_is_data_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first, again = draw(rng(9), WITH_FLIP, (8, 8), groups=4), draw(rng(9), WITH_FLIP, (8, 8), groups=4)
    images = pictures(4, 2, 3, 8, 8)
    assert torch.equal(apply(first, images), apply(again, images))
    assert torch.equal(apply(first, images), apply(first, images))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_batch_of_one_channels_last_image():
    images = pictures(1, 1, 8, 8).to(memory_format=torch.channels_last)
    for name in WITH_FLIP:
        assert apply(draw(rng(), (name,), (8, 8)), images).shape == images.shape


def test_strategies_are_parsed_and_refused():
    assert parse_strategy("color_crop_cutout_flip_scale_rotate") == WITH_FLIP
    assert parse_strategy("none") == ()
    with pytest.raises(ValueError, match=r"'rotat' in .* nearest is 'rotate'"):
        parse_strategy("color_rotat")
    with pytest.raises(ValueError, match="'crop' stands twice"):
        parse_strategy("crop_flip_crop")
    empty = draw(rng(), (), (8, 8), groups=2)
    assert torch.equal(apply(empty, pictures(2, 1, 1, 8, 8)), pictures(2, 1, 1, 8, 8))


def test_a_draw_for_other_images_is_refused():
    with pytest.raises(ValueError, match="does not fit 3 groups"):
        apply(draw(rng(), WITH_FLIP, (8, 8), groups=2), pictures(3, 1, 1, 8, 8))


class TestCondensation:
    def test_crop_is_a_window_of_the_image_padded_with_the_channel_mean(self):
        images = pictures(2, 3, 28, 28)
        drawn = CondensationDraw(("crop", "crop"), torch.tensor([[-4.0, 3.0], [2.0, 0.0]]), 0)
        out = CondensationAugmentation().apply(drawn, images)
        mean = images.mean((0, 2, 3))[:, None, None]
        for image, result, (dy, dx) in zip(images, out, [(-4, 3), (2, 0)], strict=True):
            padded = mean.expand(3, 36, 36).clone()
            padded[:, 4:32, 4:32] = image
            torch.testing.assert_close(
                result, padded[:, 4 + dy : 32 + dy, 4 + dx : 32 + dx], rtol=0, atol=1e-12
            )

    def test_scale_shrinks_onto_zero_and_enlarges_about_the_centre(self):
        images = torch.ones(2, 1, 20, 20, dtype=torch.float64)
        drawn = CondensationDraw(("scale", "scale"), torch.tensor([[0.8, 1.0], [1.2, 1.2]]), 0)
        out = CondensationAugmentation().apply(drawn, images)
        assert out[0, 0].sum() == 16 * 20
        assert (out[0, 0, :2] == 0).all()
        assert (out[1] == 1).all()

    def test_rotation_fills_with_the_mean(self):
        images = pictures(1, 1, 28, 28) + 5
        drawn = CondensationDraw(("rotate",), torch.tensor([[-45.0, 0.0]]), 0)
        out = CondensationAugmentation().apply(drawn, images)
        assert out[0, 0, 0, 0] == pytest.approx(images.mean())

    def test_draws_are_in_range_and_uniform(self):
        drawn = CondensationAugmentation().draw(rng(), (28, 28), groups=30, images=200)
        for name, low, high in [("crop", -4, 3), ("scale", 0.8, 1.2), ("rotate", -45, 44)]:
            rows = [i for i, operation in enumerate(drawn.operations) if operation == name]
            assert abs(len(rows) - 2000) < 200
            assert drawn.parameters[rows].min().item() == pytest.approx(low, abs=1e-3)
            assert drawn.parameters[rows].max().item() == pytest.approx(high, abs=1e-3)

    @pytest.mark.parametrize("operations", [WITHOUT_BATCH_NORM, WITH_BATCH_NORM])
    def test_the_same_draw_gives_the_same_images_and_the_input_is_untouched(self, operations):
        augment = CondensationAugmentation(operations)
        images = pictures(2, 8, 1, 28, 28)
        kept, drawn = images.clone(), augment.draw(rng(), (28, 28), groups=2, images=8)
        once = augment.apply(drawn, images)
        assert torch.equal(once, augment.apply(drawn, images))
        assert torch.equal(images, kept)
        assert not torch.equal(once, images)

    def test_noise_is_small(self):
        images = pictures(4, 1, 28, 28)
        drawn = CondensationDraw(("noise",) * 4, torch.zeros(4, 2), 3)
        difference = CondensationAugmentation(WITH_BATCH_NORM).apply(drawn, images) - images
        assert difference.std() == pytest.approx(0.001, rel=0.05)

    def test_a_draw_for_other_images_is_refused(self):
        augment = CondensationAugmentation()
        with pytest.raises(ValueError, match="does not fit 3 images"):
            augment.apply(augment.draw(rng(), (8, 8), images=2), pictures(3, 1, 8, 8))

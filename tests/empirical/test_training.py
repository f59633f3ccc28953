"""SGD on a set: the framework's optimiser as the reference; many networks at once equal one by one."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from empirical.data.augmentation import WITHOUT_FLIP, SiameseAugmentation
from empirical.data.condensation_augmentation import CondensationAugmentation
from empirical.networks import build
from empirical.networks.cost import measure
from empirical.training.gradient import BatchGradient, even_sizes
from empirical.training.sgd import STRATEGIES, Job, Recipe, Strategy, choose, halved, published, train

SHAPE = (1, 12, 12)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 30, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return torch.randn(n, *SHAPE, generator=generator(9), dtype=dtype), torch.arange(n) % 10


def convnets(count: int, dtype: torch.dtype = torch.float64, **variant: object) -> list[nn.Module]:
    options = {"width": 8, "depth": 2, **variant}
    return [build("convnet", SHAPE, 10, generator(i), **options).to(dtype) for i in range(count)]


def mlps(count: int) -> list[nn.Module]:
    return [build("mlp", SHAPE, 10, generator(i)).double() for i in range(count)]


def flat(networks: list[nn.Module]) -> Tensor:
    rows = [[p.detach().flatten() for p in network.parameters()] for network in networks]
    return torch.stack([torch.cat(row) for row in rows])


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_published_schedule() -> None:
    short, long = published(300), published(1000)
    assert (short.epochs, sum(short.rate(e) == 0.01 for e in range(short.epochs))) == (301, 152)
    assert (long.epochs, sum(long.rate(e) == 0.01 for e in range(long.epochs))) == (1001, 502)
    assert short.rate(151) == 0.01 and short.rate(152) == pytest.approx(0.001) == short.rate(300)
    assert (short.momentum, short.weight_decay, short.batch) == (0.9, 5e-4, 256)
    whole = halved(50)
    assert [whole.rate(e) for e in (24, 25)] == [0.01, pytest.approx(0.001)] and whole.epochs == 50


def test_equals_the_frameworks_optimiser_with_a_new_one_at_the_drop() -> None:
    x, y = images()
    (ours,), (reference,) = convnets(1), convnets(1)
    recipe = published(8)
    train([ours], Job(x, y, recipe), [generator(0)])
    for epoch in range(9):
        if epoch in (0, 6):  # E // 2 + 1 = 5 is the last at the full rate
            rate = 0.01 if epoch == 0 else 0.001
            optimiser = torch.optim.SGD(reference.parameters(), rate, momentum=0.9, weight_decay=5e-4)
        optimiser.zero_grad()
        functional.cross_entropy(reference(x), y).backward()
        optimiser.step()
    torch.testing.assert_close(flat([ours]), flat([reference]), rtol=1e-12, atol=1e-14)


def test_every_image_once_an_epoch_in_batches_with_a_short_last_one() -> None:
    x, y = images(23)
    seen: list[list[int]] = []
    (network,) = convnets(1)
    recipe = Recipe(3, batch=10)
    train([network], Job(x, y, recipe, observe=lambda k, i, logits: seen.append(i.tolist())), [generator(0)])
    assert [len(batch) for batch in seen] == [10, 10, 3] * 3
    epochs = [[i for batch in seen[3 * e : 3 * e + 3] for i in batch] for e in range(3)]
    assert all(sorted(order) == list(range(23)) for order in epochs) and epochs[0] != epochs[1]
    assert not network.training


def test_observed_logits_are_those_of_the_step() -> None:
    x, y = images(8)
    (network,) = convnets(1)
    before = network(x).detach()
    said: list[Tensor] = []
    train([network], Job(x, y, Recipe(1), observe=lambda k, i, logits: said.append(logits)), [generator(0)])
    torch.testing.assert_close(said[0], before)


AUGMENTATIONS = {
    "none": None,
    "siamese": SiameseAugmentation(WITHOUT_FLIP),
    "condensation": CondensationAugmentation(),
}


@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
@pytest.mark.parametrize("make", [convnets, mlps])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.usefixtures("two_threads")
def test_at_once_equals_one_by_one(
    strategy: Strategy, make: Callable[[int], list[nn.Module]], augmentation: object
) -> None:
    x, y = images()
    recipe = Recipe(4, learning_rate=0.05, batch=12, full_rate_epochs=2)
    together, alone = make(3), make(3)
    job = Job(x, y, recipe, augmentation=augmentation)  # type: ignore[arg-type]
    train(together, job, [generator(i) for i in range(3)], strategy=strategy)
    for i, network in enumerate(alone):
        train([network], job, [generator(i)])
    assert torch.get_num_threads() == 2
    torch.testing.assert_close(flat(together), flat(alone), rtol=1e-9, atol=1e-11)
    assert not torch.equal(flat(together)[0], flat(together)[1])


def test_same_seeds_same_bits() -> None:
    x, y = images(dtype=torch.float32)
    results = []
    for _ in range(2):
        networks = convnets(3, torch.float32)
        seeds = [generator(i) for i in range(3)]
        train(networks, Job(x, y, Recipe(3, batch=8), augmentation=AUGMENTATIONS["siamese"]), seeds)
        results.append(flat(networks))
    assert torch.equal(*results)


def test_soft_labels_that_are_hard_change_nothing() -> None:
    x, y = images()
    hard, soft = convnets(1), convnets(1)
    train(hard, Job(x, y, Recipe(3)), [generator(0)])
    train(soft, Job(x, functional.one_hot(y).double(), Recipe(3)), [generator(0)])
    torch.testing.assert_close(flat(hard), flat(soft), rtol=1e-12, atol=1e-14)
    stacked = convnets(2)
    train(stacked, Job(x, functional.one_hot(y).double(), Recipe(3)), [generator(0)] * 2, strategy="stacked")
    torch.testing.assert_close(flat(stacked)[:1], flat(hard), rtol=1e-9, atol=1e-12)


def test_prepare_turns_stored_images_into_inputs_batch_by_batch() -> None:
    x, y = images()
    stored = (x * 20 + 128).clamp(0, 255).to(torch.uint8)
    plain, prepared = convnets(1), convnets(1)
    train(plain, Job(stored.double() / 100, y, Recipe(2, batch=7)), [generator(0)])
    train(prepared, Job(stored, y, Recipe(2, batch=7), prepare=lambda part: part.double() / 100), [generator(0)])
    assert torch.equal(flat(plain), flat(prepared))


def test_batch_norm_sees_whole_batches_and_moves_its_statistics() -> None:
    x, y = images()
    ours, reference = convnets(1, norm="batch"), convnets(1, norm="batch")
    train(ours, Job(x, y, Recipe(2, momentum=0, weight_decay=0)), [generator(0)])
    optimiser = torch.optim.SGD(reference[0].parameters(), 0.01)
    reference[0].train()
    for _ in range(2):
        optimiser.zero_grad()
        functional.cross_entropy(reference[0](x), y).backward()
        optimiser.step()
    reference[0].eval()
    torch.testing.assert_close(ours[0](x), reference[0](x), rtol=1e-10, atol=1e-12)


def test_epoch_hook_and_progress() -> None:
    x, y = images()
    for strategy in STRATEGIES:
        calls: list[tuple[int, int]] = []
        done: list[int] = []
        train(
            convnets(2),
            Job(
                x, y, Recipe(3), after_epoch=lambda k, epoch, _, calls=calls: calls.append((k, epoch)),
                progress=done.append,
            ),
            [generator(0), generator(1)],
            strategy=strategy,
        )  # fmt: skip
        assert sorted(calls) == [(k, e) for k in range(2) for e in range(3)] and sum(done) == 6


def test_micro_batches_sum_to_the_gradient_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = images()
    (network,) = convnets(1)
    monkeypatch.setattr("empirical.training.gradient.CACHE_BYTES", 7 * 8 * 8 * 256)
    assert max(even_sizes(30, 7)) - min(even_sizes(30, 7)) <= 1 and sum(even_sizes(30, 7)) == 30
    batch = BatchGradient(network, SHAPE)
    assert 1 < batch._limit < 30
    gradients, logits = batch(network, x, y)
    expected = torch.autograd.grad(functional.cross_entropy(network(x), y), list(network.parameters()))
    torch.testing.assert_close(gradients, list(expected), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(logits, network(x).detach())


def test_a_compiler_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = images()
    plain, other = convnets(1), convnets(1)
    train(plain, Job(x, y, Recipe(2)), [generator(0)], compiled=False)

    def broken() -> Callable[..., None]:
        def fail(*_: object) -> None:
            raise RuntimeError("no compiler here")

        return fail

    monkeypatch.setattr("empirical.training.gradient._compiled_forward", broken)
    train(other, Job(x, y, Recipe(2)), [generator(0)], compiled=True)
    assert torch.equal(flat(plain), flat(other))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_equals_plain() -> None:
    x, y = images()
    plain, compiled = convnets(3), convnets(3)
    seeds = [[generator(i) for i in range(3)] for _ in range(2)]
    train(plain, Job(x, y, Recipe(3, batch=12)), seeds[0], compiled=False)
    train(compiled, Job(x, y, Recipe(3, batch=12)), seeds[1], compiled=True)
    torch.testing.assert_close(flat(plain), flat(compiled), rtol=1e-9, atol=1e-11)


def test_choice_of_strategy() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert choose(convnets(2), cpu) == "threads" and choose(mlps(2), cpu) == "one by one"
    assert choose(convnets(2), gpu) == "stacked" and choose(convnets(2, norm="batch"), gpu) == "one by one"
    assert choose(convnets(1), gpu) == "one by one"


def test_bad_input_is_refused() -> None:
    x, y = images()
    with pytest.raises(ValueError, match="as many generators"):
        train(convnets(2), Job(x, y, Recipe(1)), [generator(0)])
    with pytest.raises(ValueError, match="30 images and 29 labels"):
        train(convnets(1), Job(x, y[:-1], Recipe(1)), [generator(0)])
    with pytest.raises(ValueError, match="cannot be stacked"):
        train(convnets(2, norm="batch"), Job(x, y, Recipe(1)), [generator(0)] * 2, strategy="stacked")
    with pytest.raises(ValueError, match="valid: auto"):
        train(convnets(1), Job(x, y, Recipe(1)), [generator(0)], strategy="vmap")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="learning rate must be positive"):
        Recipe(1, learning_rate=-0.1)
    with pytest.raises(ValueError, match="epochs must be"):
        Recipe(-1)


def test_cost_of_the_published_convnet() -> None:
    """The multiply-adds of a forward pass, 50.7 million at 3x32x32."""
    network = build("convnet", (3, 32, 32))
    expected = 1024 * 27 * 128 + 256 * 9 * 128**2 + 64 * 9 * 128**2 + 2048 * 10
    cost = measure(network, (3, 32, 32))
    assert cost.multiply_adds == expected == 50_745_344
    assert cost.largest_output == 128 * 1024

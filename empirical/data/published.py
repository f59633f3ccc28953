"""The published data sets whose files lie in the data root: sizes, normalisation constants, where the files may be.

Sizes and constants are those of the published programs of gradient and trajectory matching; the CIFAR-10 deviation is
the customary mean of per-image deviations, not that of all pixels.
"""

from __future__ import annotations

from empirical.data.preprocessing import Normalisation
from empirical.data.registry import DIGIT_NAMES, DatasetSpec, add
from empirical.data.sources import NpzPair
from empirical.data.torchvision_set import TorchvisionSet

_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)
_CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _idx_files(title: str, sums: tuple[str, str, str, str]) -> TorchvisionSet:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return TorchvisionSet(title, {f"{title}/raw/{n}-ubyte": s for n, s in zip(names, sums, strict=True)})


_MNIST = _idx_files(
    "MNIST",
    (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
)
_FASHION = _idx_files(
    "FashionMNIST",
    (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
)
_SVHN = TorchvisionSet(
    "SVHN",
    {
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    },
    split_by_name=True,
)
_CIFAR10 = TorchvisionSet(
    "CIFAR10",
    {
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
        "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
)
_CIFAR100 = TorchvisionSet(
    "CIFAR100",
    {
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
    },
)

add(
    DatasetSpec(
        "mnist",
        sources=(NpzPair("mnist"), _MNIST),
        classes=10,
        channels=1,
        side=28,
        normalisation=Normalisation((0.1307,), (0.3081,)),
        class_names=DIGIT_NAMES,
    )
)
add(
    DatasetSpec(
        "fashion-mnist",
        sources=(NpzPair("fashion_mnist"), _FASHION),
        classes=10,
        channels=1,
        side=28,
        flip=True,
        normalisation=Normalisation((0.2861,), (0.3530,)),
        class_names=_CLOTHES,
    )
)
add(
    DatasetSpec(
        "svhn",
        sources=(NpzPair("svhn"), _SVHN),
        classes=10,
        channels=3,
        side=32,
        normalisation=Normalisation((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        class_names=DIGIT_NAMES,
    )
)
add(
    DatasetSpec(
        "cifar10",
        sources=(NpzPair("cifar10"), _CIFAR10),
        classes=10,
        channels=3,
        side=32,
        flip=True,
        normalisation=Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        class_names=_CIFAR10_NAMES,
    )
)
add(
    DatasetSpec(
        "cifar100",
        sources=(NpzPair("cifar100"), _CIFAR100),
        classes=100,
        channels=3,
        side=32,
        flip=True,
        normalisation=Normalisation((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    )
)

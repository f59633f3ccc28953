"""Networks by name: the matching ConvNet and the networks that a synthetic set is evaluated on."""

from empirical.networks import alexnet, convnet, lenet, mlp, resnet, vgg
from empirical.networks.functional import Functional
from empirical.networks.initialisation import initialise, initialise_many
from empirical.networks.registry import Classifier, build, names, register, variants

__all__ = [
    "Classifier",
    "Functional",
    "alexnet",
    "build",
    "convnet",
    "initialise",
    "initialise_many",
    "lenet",
    "mlp",
    "names",
    "register",
    "resnet",
    "variants",
    "vgg",
]

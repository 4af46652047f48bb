"""Mistakes in the head, the loss and the optimizer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_tl import classifier, head, optim, steps
from lightning_tl.head import Dropout
from lightning_tl.optim import KerasAdam
from parity_tests.claims import head as head_claims
from parity_tests.mutant import Mutant, replaced


def not_rescaled(self: Dropout, features: Tensor, uniforms: Tensor | None = None) -> Tensor:
    return features * (uniforms >= self.rate) if self.training and uniforms is not None else features


def inverted(self: Dropout, features: Tensor, uniforms: Tensor | None = None) -> Tensor:
    if not self.training or uniforms is None:
        return features
    return features * (uniforms < self.rate) / (1 - self.rate)


def per_batch(self: Dropout, features: Tensor, uniforms: Tensor | None = None) -> Tensor:
    """One mask for all samples."""
    if not self.training or uniforms is None:
        return features
    return features * (uniforms[:1] >= self.rate) / (1 - self.rate)


def losses(each: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    return (each if weights is None else each * weights[labels]).mean()


def not_renormalised(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """The right class's own sigmoid: probabilities that do not add up to 1."""
    each = -F.logsigmoid(logits)[torch.arange(len(labels)), labels]
    return losses(each, labels, class_weights)


def clipped(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """As Keras on torch and jax, which is not what we promise."""
    right = logits.softmax(dim=1)[torch.arange(len(labels)), labels].clip(1e-7, 1 - 1e-7)
    each = -right.log() if not label_smoothing else F.cross_entropy(
        logits, labels, reduction="none", label_smoothing=label_smoothing
    )  # fmt: skip
    return losses(each, labels, class_weights)


def divided_by_weights(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    return F.cross_entropy(logits, labels, class_weights, label_smoothing=label_smoothing)


def summed(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
    return losses(each, labels, class_weights) * len(labels)


def torch_initial(num_features: int, num_classes: int, seed: int) -> nn.Linear:
    torch.manual_seed(seed)
    linear = nn.Linear(num_features, num_classes)
    nn.init.zeros_(linear.bias)
    return linear


def biased(num_features: int, num_classes: int, seed: int) -> nn.Linear:
    linear = head.linear_head(num_features, num_classes, seed)
    nn.init.constant_(linear.bias, 1e-3)
    return linear


def loss_mutant(name: str, statement: str, function: object, killers: tuple[str, ...]) -> Mutant:
    """The loss is another one, wherever it is used."""
    places = ((steps, "weighted_loss", function), (head_claims, "weighted_loss", function))
    return Mutant(name, statement, replaced(*places), killers)


def head_mutant(name: str, statement: str, function: object) -> Mutant:
    """The head begins with other weights."""
    places = ((classifier, "linear_head", function), (head_claims, "linear_head", function))
    return Mutant(name, statement, replaced(*places), ("initial-head",))


def torch_step(self: KerasAdam, closure: None = None) -> None:
    """The form of torch: epsilon beside the bias-corrected root."""
    torch.optim.Adam.step(self, closure)


ADAM = ("adam", "trajectory-timm")

MUTANTS_HEAD = (
    Mutant(
        "dropout not rescaled",
        "kept features are not divided by 1 - rate",
        replaced((Dropout, "forward", not_rescaled)),
        ("dropout", "gradients"),
    ),
    Mutant(
        "dropout inverted",
        "what should be kept is dropped",
        replaced((Dropout, "forward", inverted)),
        ("dropout", "gradients"),
    ),
    Mutant(
        "one dropout mask a batch",
        "all samples lose the same features",
        replaced((Dropout, "forward", per_batch)),
        ("dropout", "gradients"),
    ),
    loss_mutant(
        "loss not renormalised", "the loss is on probabilities that do not add up to 1", not_renormalised, ("loss",)
    ),
    loss_mutant(
        "loss clipped", "the loss is on probabilities clipped as in Keras on torch", clipped, ("loss-saturated",)
    ),
    loss_mutant(
        "loss divided by class weights", "the mean is weighted, as torch's own is", divided_by_weights, ("loss",)
    ),
    loss_mutant("loss summed", "the loss is the sum over the batch", summed, ("loss", "gradients")),
    head_mutant("torch's initial head", "the head begins as nn.Linear does", torch_initial),
    head_mutant("initial bias", "the head's bias begins away from zero", biased),
    Mutant(
        "Adam in torch's form",
        "epsilon is added after the bias correction",
        replaced((KerasAdam, "step", torch_step)),
        ADAM,
    ),
    Mutant(
        "Adam with torch's epsilon",
        "epsilon-hat is 1e-8",
        replaced((KerasAdam.__init__, "__defaults__", (1e-3, (0.9, 0.999), 1e-8))),
        ADAM,
    ),
    Mutant(
        "Adam with other decay",
        "the second moment decays by 0.99",
        replaced((KerasAdam.__init__, "__defaults__", (1e-3, (0.9, 0.99), optim.KERAS_EPSILON))),
        ADAM,
    ),
)

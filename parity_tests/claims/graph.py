"""Claims 1 and 11 again, for batches whose frozen layers are one graph of oneDNN's, as those of training are."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from lightning_tl import frozen_graph
from parity_tests import ours
from parity_tests.claim import Skipped, claim
from parity_tests.claims.model import over_sizes
from parity_tests.claims.training import ALPHA, FINETUNE, HEAD, batches, both, trajectory_errors
from parity_tests.processes import KerasProcess
from parity_tests.weights import lived_in, real

BATCH = 8
SIZES = ((0.35, (96, 96)), (0.35, (97, 129)), (1.0, (160, 160)))
REAL_SIZES = ((0.35, (160, 160)), (1.0, (160, 160)))


WITHOUT = "batches without a graph"


@contextmanager
def graphs_of_small_batches() -> Iterator[list[tuple[nn.Module, ...]]]:
    """Have them made for batches of any number of pixels; gives the layers that each of those made stands for.

    Raises:
        Skipped: this torch has no such graphs.
    """
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.jit, "enable_onednn_fusion")):  # type: ignore[no-untyped-call]
        raise Skipped("this torch has no graphs of oneDNN's")
    proven = frozen_graph._proven_graph
    made: list[tuple[nn.Module, ...]] = []

    def noted(chain: Sequence[nn.Module], x: Tensor, run: Callable[[Tensor], Tensor]) -> Any:
        graph = proven(chain, x, run)
        made.extend([tuple(chain)] if graph is not None else [])
        return graph

    with patch.object(frozen_graph, "WORTH", 0), patch.object(frozen_graph, "_proven_graph", noted):
        yield made


def missing(made: Sequence[tuple[nn.Module, ...]], wanted: int) -> float:
    """How many of the wanted networks and phases, each of other layers, have not had a graph of their own."""
    return float(abs(wanted - len({tuple(map(id, layers)) for layers in made})))


def forward_errors(theirs: KerasProcess, sizes: Any, weights: Any) -> dict[str, float]:
    """As ``over_sizes``; each network must have had its graph."""
    with graphs_of_small_batches() as made:
        errors = over_sizes(theirs, sizes, weights, BATCH)
    return {**errors, WITHOUT: missing(made, len(sizes) * len(ours.LIBRARIES))}


@claim(
    "forward-graph",
    1,
    "The same as forward for batches of 8, whose frozen layers are one graph of oneDNN's.",
    dtypes=("float32",),
)
def forward_graph(theirs: KerasProcess) -> dict[str, float]:
    return forward_errors(theirs, SIZES, lived_in)


@claim("forward-graph-real", 1, "The same on Keras' ImageNet weights.", dtypes=("float32",))
def forward_graph_real(theirs: KerasProcess) -> dict[str, float]:
    return forward_errors(theirs, REAL_SIZES, real)


@claim(
    "trajectory-graph",
    11,
    "The same as trajectory with batches of 8, whose frozen layers are one graph of oneDNN's, 10 + 10 steps.",
    dtypes=("float32",),
)
def trajectory_graph(theirs: KerasProcess) -> dict[str, float]:
    with graphs_of_small_batches() as made:
        run, expected = both(theirs, "trajectory", [HEAD, FINETUNE], batches(2, 10, BATCH), lived_in(ALPHA))
    assert made, "without a graph this is trajectory"
    return trajectory_errors(run, expected)


@claim(
    "graph-of-each-phase",
    11,
    "Both phases of trajectory-graph compute by a graph of their own: the error counts those that do not.",
    dtypes=("float32",),
)
def graph_of_each_phase(theirs: KerasProcess) -> float:
    with graphs_of_small_batches() as made:
        both(theirs, "trajectory", [HEAD, FINETUNE], batches(2, 2, BATCH), lived_in(ALPHA))
    return missing(made, len((HEAD, FINETUNE)))

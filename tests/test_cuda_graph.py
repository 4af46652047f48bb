"""When a function is recorded and its graph used again; that graphs compute the same is asked in test_gpu.py."""

import copy
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from recorded import stand_in
from torch import Tensor

from lightning_tl import cuda_graph
from lightning_tl.cuda_graph import GRAPHS_KEPT, GraphRecorder


class Recordings:
    """Stands in for ``capture``, which needs CUDA: what it was asked for, and functions as their own graphs."""

    def __init__(self) -> None:
        self.shapes: list[torch.Size] = []

    def __call__(self, function: Callable[..., Tensor], inputs: Sequence[Tensor], *_: Any) -> Callable[..., Tensor]:
        self.shapes.append(inputs[0].shape)
        if len(inputs[0]) == 13:
            raise RuntimeError("operation not permitted when stream is capturing")
        return function


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> Recordings:
    made = Recordings()
    stand_in(monkeypatch, made)
    return made


def scaled(x: Tensor, numbers: Tensor) -> Tensor:
    return x * numbers[0]


def twice(recorder: GraphRecorder, x: Tensor) -> None:
    for _ in range(2):
        recorder(scaled, [x], [2])


def test_a_graph_serves_other_tensors_and_numbers_of_its_case(recordings: Recordings) -> None:
    recorder = GraphRecorder()
    assert recorder(scaled, [torch.ones(4)], [2]) is None  # it may never come again
    for value, number in ((1.0, 2), (3.0, 2), (3.0, 5)):
        assert torch.equal(recorder(scaled, [torch.full((4,), value)], [number]), torch.full((4,), value * number))
    assert len(recordings.shapes) == 1


def test_another_shape_type_layout_or_case_has_a_graph_of_its_own(recordings: Recordings) -> None:
    recorder = GraphRecorder()
    for x in (torch.ones(4), torch.ones(8), torch.ones(4).double(), torch.ones(2, 4), torch.ones(4, 2).T):
        twice(recorder, x)
    assert len(recordings.shapes) == 5
    for _ in range(2):
        recorder(scaled, [torch.ones(8)], [2], "other")
    assert len(recordings.shapes) == 6


def test_what_comes_once_is_not_recorded(recordings: Recordings) -> None:
    recorder = GraphRecorder()
    for count in range(20):
        assert recorder(scaled, [torch.ones(count)], [2]) is None
    assert not recordings.shapes


def test_kinds_that_take_turns_are_recorded(recordings: Recordings) -> None:
    """As a full and a partial batch do in a short epoch."""
    recorder = GraphRecorder()
    for _ in range(3):
        for count in (32, 8):
            recorder(scaled, [torch.ones(count)], [2])
    assert [shape[0] for shape in recordings.shapes] == [32, 8]


def test_those_used_last_are_kept(recordings: Recordings) -> None:
    recorder = GraphRecorder()
    for count in (*range(1, GRAPHS_KEPT + 1), 1, GRAPHS_KEPT + 1, 1):
        twice(recorder, torch.ones(count))
    assert len(recordings.shapes) == GRAPHS_KEPT + 1
    twice(recorder, torch.ones(2))  # the one that was used least lately
    assert len(recordings.shapes) == GRAPHS_KEPT + 2


def test_what_cannot_be_recorded_is_tried_once(recordings: Recordings) -> None:
    recorder = GraphRecorder()
    for _ in range(4):
        assert recorder(scaled, [torch.ones(13)], [2]) is None
    assert len(recordings.shapes) == 1


def test_what_goes_wrong_in_a_recording_is_told_and_ends_no_run(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("mine")

    monkeypatch.setattr(cuda_graph, "capture", broken)
    recorder = GraphRecorder()
    assert recorder(scaled, [torch.ones(4)], [2]) is None
    with pytest.warns(UserWarning, match=r"made no CUDA graph, and goes on without \(KeyError: 'mine'\)"):
        assert recorder(scaled, [torch.ones(4)], [2]) is None
    assert recorder(scaled, [torch.ones(4)], [2]) is None  # is not tried again
    assert not recordings.shapes


@pytest.mark.usefixtures("recordings")
def test_graphs_do_not_travel() -> None:
    recorder = GraphRecorder()
    twice(recorder, torch.ones(4))
    for other in (copy.deepcopy(recorder), pickle.loads(pickle.dumps(recorder))):
        assert not other._graphs
    assert recorder._graphs
    recorder.clear()
    assert not recorder._graphs


def test_on_a_cpu_there_is_none() -> None:
    assert GraphRecorder()(scaled, [torch.ones(4)], [2]) is None

"""The processes that run Keras: precision, answers kept, errors told."""

import numpy as np
import pytest

from parity_tests.processes import BACKENDS, KerasProcess, installed_backends, keras_process


@pytest.mark.parametrize("backend", BACKENDS)
def test_float64_needs_the_private_switch_and_gets_it(backend: str) -> None:
    """If Keras makes float64 whole, the switch goes; if it renames the entry, this says so."""
    if backend not in installed_backends():
        pytest.skip(f"{backend} is not installed")
    stock = keras_process(backend, "float64-stock").call("probe.precision")
    switched = keras_process(backend, "float64").call("probe.precision")
    assert stock["backend"] == switched["backend"] == backend
    assert stock["floatx"] == switched["floatx"] == "float64"
    assert stock["entry"] == ("float64" if backend == "tensorflow" else "float32")
    assert stock["exact"] == (backend == "tensorflow")
    assert switched["entry"] == "float64"
    assert switched["exact"]


def test_answers_are_kept_by_what_was_asked() -> None:
    process = keras_process("torch", "float32")
    first = process.call("probe.clock", values=np.zeros(2))["now"]
    assert process.call("probe.clock", values=np.zeros(2))["now"] == first
    assert process.call("probe.clock", values=np.ones(2))["now"] != first
    assert process.call("probe.clock", {"option": 1}, values=np.zeros(2))["now"] != first


def test_error_of_a_job_is_told_and_the_process_goes_on() -> None:
    process = keras_process("torch", "float32")
    with pytest.raises(RuntimeError, match="nothing works here"):
        process.call("probe.failing")
    assert process.call("probe.precision")["floatx"] == "float32"


def test_end_of_the_process_is_told() -> None:
    process = KerasProcess("torch", "float32")
    with pytest.raises(RuntimeError, match="ended with code 3"):
        process.call("probe.ending")
    process.close()

"""Garbage is looked for again after imports, and what a command imported is taken down in the end."""

import gc
import subprocess
import sys

import pytest

from lightning_tl.importing import import_for_good, uncollected


def run(code: str) -> str:
    """What a new process prints; it must end without a word of complaint."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-2000:]
    return done.stdout


def test_a_command_never_looks_again_at_what_it_was_started_for() -> None:
    told = run(
        "import gc; from lightning_tl.importing import import_for_good\n"
        "import_for_good('lightning_tl.cli')\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 100_000, len(gc.get_objects()) < 10_000)"
    )
    assert told == "True True True\n"


def test_a_name_of_the_package_leaves_a_users_garbage_alone() -> None:
    told = run("import gc; from lightning_tl import PhasedFinetuning; print(gc.isenabled(), gc.get_freeze_count())")
    assert told == "True 0\n"


def test_a_module_that_is_known_freezes_nothing() -> None:
    before = gc.get_freeze_count()
    assert import_for_good("subprocess") is subprocess
    assert gc.get_freeze_count() == before


def test_collection_goes_on_after_an_error() -> None:
    def failing() -> None:
        with uncollected():
            assert not gc.isenabled()
            import_for_good("no_such_module")

    with pytest.raises(ModuleNotFoundError):
        failing()
    assert gc.isenabled()


def test_who_collects_nothing_is_left_to_it() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()

"""Garbage is looked for again after imports, and what a command imported is taken down in the end."""

import gc
import subprocess
import sys

import pytest

from lightning_tl.importing import import_uncollected, uncollected


def run(code: str) -> str:
    """What a new process prints; it must end without a word of complaint."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-2000:]
    return done.stdout


def test_a_command_never_looks_again_at_what_it_was_started_for() -> None:
    told = run(
        "import gc, sys; from lightning_tl import command\n"
        "sys.argv = ['lightning-tl', 'fit', '--no_such_option', '1']\n"
        "sys.stderr = sys.stdout\n"
        "try:\n    command.program()\n"
        "except SystemExit:\n    pass\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 100_000)"
    )
    assert "error" in told
    assert told.splitlines()[-1] == "True True"


@pytest.mark.parametrize("call", ["import_uncollected('lightning_tl.phases')", "command.main(['export', 'none.ckpt'])"])
def test_elsewhere_it_is_looked_for_in_everything(call: str) -> None:
    told = run(
        "import gc, sys; from lightning_tl import command; from lightning_tl.importing import import_uncollected\n"
        f"sys.stderr = sys.stdout\ntry:\n    {call}\nexcept SystemExit:\n    pass\n"
        "print(gc.isenabled(), gc.get_freeze_count())"
    )
    assert told.splitlines()[-1] == "True 0"


def test_a_name_of_the_package_leaves_a_users_garbage_alone() -> None:
    told = run("import gc; from lightning_tl import PhasedFinetuning; print(gc.isenabled(), gc.get_freeze_count())")
    assert told == "True 0\n"


def test_timm_is_imported_with_its_first_network() -> None:
    """It takes half a second, and torchvision's network needs none of it."""
    told = run(
        "import sys; import lightning_tl.cli; from lightning_tl.backbone import Backbone\n"
        "Backbone('torchvision/mobilenet_v2', 'keras', (32, 32)); print('timm' in sys.modules)\n"
        "Backbone('timm/mobilenetv2_035', 'keras', (32, 32)); print('timm' in sys.modules)"
    )
    assert told.split() == ["False", "True"]


def test_collection_goes_on_after_an_error() -> None:
    def failing() -> None:
        with uncollected():
            assert not gc.isenabled()
            import_uncollected("no_such_module")

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

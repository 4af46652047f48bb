"""The committed study of whole runs is whole, and its page says what its numbers say."""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_all_three_backends_follow_within_the_stated_tolerances() -> None:
    study = json.loads((ROOT / "docs" / "accuracy_study.json").read_text(encoding="utf-8"))
    spec = importlib.util.spec_from_file_location("accuracy_study", ROOT / "scripts" / "accuracy_study.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert {run["framework"] for run in study["runs"]} == {f"keras-{backend}" for backend in script.BACKENDS}
    assert study["tolerances"] == {"loss": script.LOSS_TOLERANCE, "same_class": script.SAME_CLASS}
    for run in study["runs"]:
        assert run["passed"]
        assert run["loss_error"] <= script.LOSS_TOLERANCE
        assert run["same_class"] >= script.SAME_CLASS
        assert len(run["epochs"]) == len(study["lightning"]["epochs"]) == 6
    assert (ROOT / "docs" / "accuracy_study.md").read_text(encoding="utf-8") == script.as_markdown(study)

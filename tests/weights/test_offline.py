"""Without a network the error comes within 15 seconds, even where connections are swallowed."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

LIMIT = 15.0
"""Seconds, promised to an offline user; measured around the call, imports aside."""

SCRIPT = """
import sys, time
import huggingface_hub, timm  # whose import every user pays, online too
from huggingface_hub import get_hf_file_metadata, hf_hub_download
from lightning_tl.weights import find_weights
start = time.perf_counter()
try:
    find_weights(sys.argv[1], "imagenet")
except ValueError as error:
    print(time.perf_counter() - start)
    print(error)
"""


@pytest.fixture
def blackhole() -> Iterator[str]:
    """A proxy that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_offline_users_do_not_wait(tmp_path: Path, blackhole: str) -> None:
    names = ("torchvision/mobilenet_v2", "timm/mobilenetv2_100")
    with ThreadPoolExecutor(len(names)) as pool:  # they wait more than they compute
        outputs = list(pool.map(lambda name: _run(name, blackhole, tmp_path), names))
    for name, output in zip(names, outputs, strict=True):
        seconds, _, message = output.partition("\n")
        assert float(seconds) < LIMIT
        assert f"weights of {name} were found nowhere" in message
        assert "weights: none is random ones" in message
        assert "no answer within 4 s" in message or "timed out" in message


def _run(name: str, proxy: str, home: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment |= dict.fromkeys(("http_proxy", "https_proxy"), proxy)
    environment |= {
        "HOME": str(home),
        "LIGHTNING_TL_CACHE": str(home / "cache"),
        "TORCH_HOME": str(home / "torch"),
        "HF_HOME": str(home / "hub"),
        "PIP_NO_CACHE_DIR": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }
    command = [sys.executable, "-c", SCRIPT, name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout

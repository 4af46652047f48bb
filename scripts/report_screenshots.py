"""Save pictures of the top of reports, from the headline down to the matrix: no photograph is in them.

Usage: python scripts/report_screenshots.py runs/one/report.html=docs/report.png [PAGE=PICTURE …]

Needs chromium and chromedriver (Debian: apt install chromium chromium-driver) and the extra dev.
"""

import argparse
import base64
import io
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver

WIDTH = 1100
"""Pixels, of the window."""
COLOURS = 192
"""Of the saved picture's palette; with fewer, orange turns brown."""
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)


def main(args: Sequence[str] | None = None) -> int:
    """Take the pictures; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="PAGE=PICTURE")
    pairs = [pair.rpartition("=") for pair in parser.parse_args(args).pairs]
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        print("report_screenshots: error: chromium and chromedriver are not installed.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            for page, _, picture in pairs:
                save(browser, Path(page), Path(picture))
        finally:
            browser.quit()
    return 0


def save(browser: Any, page: Path, picture: Path) -> None:
    """Open a page from disk and save what is above its images as a PNG with few colours."""
    size = {"width": WIDTH, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.resolve().as_uri())
    end = browser.execute_script("return document.getElementById('matrix').getBoundingClientRect().bottom + scrollY")
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": end + 12, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    with Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as image:
        image.convert("RGB").quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    raise SystemExit(main())

"""Take the pictures of the report and of MLflow: `python docs/draw_mlflow.py [RESULTS]`.

RESULTS is the folder of a finished workflow, `results` by default. Needs an installed Chromium.
Writes report.png, mlflow_settings.png and mlflow_compare.png into docs/images.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from sr3d.study.tracking.mlflow_store import open_store
from sr3d.study.tracking.runs_page import runs_page

IMAGES = Path(__file__).parent / "images"
DATASET = "synthetic"
START_SECONDS = 180  # MLflow's server starts slowly on a busy machine


@contextmanager
def server(store: str) -> Iterator[str]:
    """Address of an MLflow server for the time of the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store]
    words += ["--port", str(port), "--workers", "1"]
    process = subprocess.Popen(words, start_new_session=True, stdout=DEVNULL, stderr=DEVNULL)
    try:
        wait_for(f"{address}/health")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # with the server's workers
        process.wait()


def wait_for(address: str) -> None:
    """Return when the address answers."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            urlopen(address).close()
            return
        except URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def save(page: Page, name: str, box: tuple[int, int, int, int] | None = None) -> None:
    """Save what the page shows, or a box of it, with few colours, so that the file stays small."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB").crop(box)
    picture.quantize(128).save(IMAGES / name, optimize=True)


def draw_report(browser: Browser, results: Path) -> None:
    page = browser.new_page(viewport={"width": 1100, "height": 760})
    page.goto((results / "report" / "index.html").absolute().as_uri())
    page.get_by_text("Table 2:").last.evaluate("e => window.scrollTo(0, e.offsetTop - 20)")
    save(page, "report.png")


def draw_settings(browser: Browser, address: str, experiment: str) -> None:
    page = browser.new_page(viewport={"width": 1560, "height": 620})
    page.goto(runs_page(experiment, address))
    page.get_by_text("AP25/mean").last.wait_for()
    close_assistant(page)
    save(page, "mlflow_settings.png")


def draw_comparison(browser: Browser, address: str, experiment: str, runs: list[str]) -> None:
    page = browser.new_page(viewport={"width": 1240, "height": 1800})
    query = f"runs={quote(json.dumps(runs))}&experiments={quote(json.dumps([experiment]))}"
    page.goto(f"{address}/#/compare-runs?{query}&workflowType=machine_learning")
    page.get_by_text("Show diff only").first.wait_for()
    close_assistant(page)
    for switch in page.get_by_role("switch").all():
        if switch.get_attribute("aria-checked") != "true":
            switch.click()
    page.get_by_text("Run details").evaluate("e => e.scrollIntoView()")
    save(page, "mlflow_compare.png", (200, 100, 1000, 900))


def close_assistant(page: Page) -> None:
    """Close MLflow's chat, which opens on the first visit."""
    page.wait_for_timeout(3000)
    if page.get_by_text("MLflow Assistant").count():
        page.get_by_role("button", name="Close").last.click()
        page.wait_for_timeout(1000)


def main() -> None:
    results = Path(sys.argv[1] if len(sys.argv) > 1 else "results")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("docs/draw_mlflow.py: Chromium is missing. Install it.")
    store = f"sqlite:///{results.absolute() / 'mlflow.db'}"
    with open_store(store) as client:
        experiment = client.get_experiment_by_name(f"sr3d/{DATASET}").experiment_id
        kind = "tags.`sr3d.kind` = 'setting'"
        settings = client.search_runs([experiment], kind, order_by=["metrics.`AP25/mean`"])
        runs = [settings[0].info.run_id, settings[-1].info.run_id]  # worst and best
    with server(store) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        draw_report(browser, results)
        draw_settings(browser, address, experiment)
        draw_comparison(browser, address, experiment, runs)
        browser.close()


if __name__ == "__main__":
    main()

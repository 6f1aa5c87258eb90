"""One server in a process of its own, one browser, and for each test a page that may complain of nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--force-color-profile=srgb"]  # fmt: skip

#: What each panel shows once it has its answer, of a short mask with a pinned cell.
PANELS = {
    "Why": ".tree li", "Softmax": "table.steps", "Patterns": ".card", "Train & decode": "table.numbers",
    "Cost": "table.bars", "Depth": "svg.path", "Compare": "table.numbers", "Model": "form", "Export": "pre:not(:empty)",
}  # fmt: skip

# What a page does on a busy machine takes its time, and no test depends on how long.
expect.set_options(timeout=30_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that is in this folder needs a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


class Server:
    """`maskwork explore` as a user starts it."""

    def __init__(self, port: int = 0) -> None:
        command = [sys.executable, "-m", "maskwork", "explore", "--no-browser", "--port", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.search(r"(http://127\.0\.0\.1:(\d+)/)#token=(\S+)", said)
        assert found, f"the explorer said {said!r} instead of its address"
        self.address, self.port, self.token = found[1], int(found[2]), found[3]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.end()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; where there is none these tests fail, for nobody runs them by chance.

    Its headless shell, where that is there: the same engine without a browser's window, which takes half of the time.
    """
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    assert chromium, "the tests in a browser need chromium on the PATH; found none; apt-get install chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def faults() -> list[str]:
    """What the page complained of; a test that provokes a complaint takes it out."""
    return []


@pytest.fixture
def page(browser: Browser, server: Server, faults: list[str]) -> Iterator[Page]:
    """A page of 1280 x 800 that keeps nothing from others; at the end of a test it must have complained of nothing."""
    context = browser.new_context(base_url=server.address, viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    watch(opened, server, faults)
    yield opened
    context.close()
    assert not faults


def watch(page: Page, server: Server, faults: list[str]) -> None:
    """Note what the console and the scripts complain of, and what the page asks of anybody but its own server."""
    page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    ours = (server.address, "data:", "blob:")
    page.on("request", lambda asked: None if asked.url.startswith(ours) else faults.append(f"asked {asked.url}"))


def each_panel(page: Page) -> Iterator[str]:
    """Open one panel after the other."""
    assert page.get_by_role("tab").all_text_contents() == list(PANELS)
    for name, sign in PANELS.items():
        page.get_by_role("tab", name=name).click()
        expect(page.locator(f"#panel {sign}").first).to_be_visible()
        yield name


def open_page(page: Page, **query: object) -> None:
    """Open the explorer with these parts of the address, a small causal mask where they name none."""
    page.goto("/?" + urlencode({"mask": "causal", "length": 16} | query))
    page.wait_for_selector("#matrix[data-settled=true]", state="attached")

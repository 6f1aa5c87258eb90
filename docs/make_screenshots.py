"""The pictures of the explorer in the README and docs/: `make screenshots` rewrites them, with chromium on the PATH."""

import multiprocessing
import shutil
import sys
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Page, expect, sync_playwright

FOLDER = Path(__file__).parent / "pictures" / "explorer"
DOCUMENTS = [150_000, 220_000, 90_000, 340_000, 248_576]
SHORT = "causal & (sliding_window(6) | sinks(1))"

#: file name -> what the address says, the page's size, and what is there once the panel has its answer.
PICTURES: dict[str, tuple[dict[str, object], tuple[int, int], str]] = {
    "million": (
        {"mask": f"within(causal & (sliding_window(65536) | sinks(4096)), {DOCUMENTS})", "length": 1 << 20,
         "cell": "700000,600000", "theme": "light"}, (1280, 800), ".tree li",
    ),
    "softmax": (
        {"mask": SHORT, "length": 16, "panel": "softmax", "cell": "9,2", "softmax.fill": "-1",
         "text": "The cat that the dog chased ran up a tree and sat there until dusk .", "theme": "dark"},
        (1280, 800), "table.steps",
    ),
    "decoding": (
        {"mask": SHORT, "length": 16, "panel": "play", "play.step": 10, "theme": "light"}, (1280, 800), "table.numbers",
    ),
    "compare": (
        {"mask": "causal & (sliding_window(8) | sinks(2))", "other": "causal & chunked(16)", "length": 48,
         "panel": "compare", "theme": "dark"}, (1280, 800), "table.numbers",
    ),
    "model": (
        {"mask": SHORT, "length": 20, "panel": "model", "theme": "light"}, (1280, 960), ".verdict.leak",
    ),
    "phone": ({"mask": SHORT, "length": 16, "cell": "9,2", "theme": "light"}, (390, 844), ".tree li"),
}  # fmt: skip


#: The button that is pressed first, where the panel waits for one.
PRESSED = {"model": "forgets the mask"}


def draw(page: Page, name: str, token: str, folder: Path = FOLDER) -> Path:
    """Take one picture of the explorer that `page` belongs to."""
    asked, (width, height), sign = PICTURES[name]
    page.set_viewport_size({"width": width, "height": height})
    page.goto(f"/?{urlencode(asked)}#{token}")
    page.wait_for_selector("#matrix[data-settled=true]", state="attached")
    if name in PRESSED:
        page.get_by_role("button", name=PRESSED[name]).click()
    expect(page.locator(f"#panel {sign}").first).to_be_visible()
    expect(page.locator("#facts")).not_to_be_empty()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)  # the last answers, which nothing on the page waits for
    path = folder / f"{name}.png"
    page.screenshot(path=path, animations="disabled")
    return path


def serve(told: multiprocessing.SimpleQueue) -> None:
    """The explorer on a free port, whose address is told."""
    from maskwork import explorer

    explorer.serve(open_browser=False, ready=told.put)


def main() -> None:
    chromium = shutil.which("chromium")
    if not chromium:
        sys.exit("error: pictures of the explorer need chromium on the PATH; found none; apt-get install chromium")
    expect.set_options(timeout=60_000)  # a model is loaded by a process that has to import torch first
    told = multiprocessing.get_context("spawn").SimpleQueue()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(told,))
    server.start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--disable-gpu"])
            address, token = told.get().split("#")
            page = browser.new_page(base_url=address)
            for name in PICTURES:
                path = draw(page, name, token)
                print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
            browser.close()
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()

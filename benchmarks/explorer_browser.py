"""Time the explorer's page in Chromium at a million tokens: the first picture, and tasks while panning and zooming.

The benchmark prints milliseconds: from the load event to the finished first picture (fresh server, fresh page), then
the tasks above 50 ms that occupied the main thread while the page was loaded, panned and zoomed, with one mask and with
two compared masks. It needs chromium on the PATH.

    python benchmarks/explorer_browser.py --json browser.json
"""

import re
import shutil
import subprocess
import sys
from urllib.parse import urlencode

from _common import finish, parser_of
from playwright.sync_api import Page, sync_playwright

from explorer import N, mask_of

#: Limits in milliseconds: on the first picture, and on a task while the page is panned and zoomed.
LIMIT_FIRST, LIMIT_TASK = 1500.0, 50.0

#: A script that runs before the page's scripts: it records long tasks and the time of the first complete drawing.
WATCH = """
window.tasks = [];
new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration)))
  .observe({ type: "longtask", buffered: true });
new MutationObserver(() => {
  if (!window.drawn && document.querySelector("#matrix[data-settled=true]")) window.drawn = performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-settled"] });
"""


def settled(page: Page) -> None:
    page.wait_for_selector("#matrix[data-settled=true]", state="attached", timeout=60_000)


def move(page: Page) -> None:
    """Move the picture as a person does: zoom in to single cells and back, with a drag at each step."""
    box = page.locator(".over").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for direction in (-1, 1):
        for _ in range(14):
            page.mouse.move(x, y)
            page.mouse.wheel(0, 120 * direction)
            page.wait_for_timeout(60)
            page.mouse.down()
            page.mouse.move(x - 80, y - 80, steps=8)
            page.mouse.up()
    settled(page)


def main() -> None:
    """Start the server, open the page, move the picture, and compare the figures with the limits."""
    parser = parser_of(__doc__)
    parser.add_argument("--tokens", type=int, default=N)
    parser.add_argument("--documents", type=int, default=500)
    args = parser.parse_args()
    chromium = shutil.which("chromium")
    if not chromium:
        print("error: this benchmark needs chromium on the PATH, got none; apt-get install chromium", file=sys.stderr)
        raise SystemExit(2)
    command = [sys.executable, "-m", "maskwork", "explore", "--no-browser"]
    figures: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        assert server.stdout is not None
        address = re.search(r"(http://\S+/)#", server.stdout.readline())
        assert address is not None
        browser = playwright.chromium.launch(executable_path=chromium, args=["--disable-gpu"])
        page = browser.new_page(base_url=address[1], viewport={"width": 1280, "height": 800})
        page.add_init_script(WATCH)
        parameters = {"mask": mask_of(args.tokens, args.documents), "length": args.tokens}
        page.goto("/?" + urlencode(parameters))
        settled(page)
        page.wait_for_timeout(1000)
        first, loaded = page.evaluate("() => [drawn, performance.getEntriesByType('navigation')[0].loadEventEnd]")
        figures["first picture"] = first - loaded
        print(f"{args.tokens:,} tokens, {args.documents} documents, 1280 x 800")
        print(f"first picture, after the page's load  {first - loaded:6.0f} ms   (at most {LIMIT_FIRST:g})")
        figures["loading"] = longest(page, "tasks above 50 ms while loading")
        move(page)
        figures["moving"] = longest(page, "the same, panning and zooming", "(at most 50)")
        page.get_by_role("tab", name="Compare").click()
        page.locator("#other").fill("causal & sliding_window(2048)")
        page.wait_for_url(lambda url: "other=" in url)
        settled(page)
        page.evaluate("() => { tasks.length = 0; }")
        move(page)
        figures["moving over two"] = longest(page, "the same, two masks compared", "(at most 50)")
        browser.close()
        server.terminate()
    missed = [f"the first picture takes {figures['first picture']:.0f} ms"] * (figures["first picture"] > LIMIT_FIRST)
    missed += [f"a task of {figures[name]:.0f} ms while {name}"
               for name in ("moving", "moving over two") if figures[name] > LIMIT_TASK]  # fmt: skip
    finish(figures, missed, args.json)


def longest(page: Page, label: str, bar: str = "") -> float:
    """Print and return the longest task since the last call; 0 if no task was above 50 ms."""
    page.wait_for_timeout(500)
    long = page.evaluate("() => tasks.splice(0)")
    print(f"{label:37} {len(long):6}, the longest {max(long, default=0):.0f} ms   {bar}")
    return max(long, default=0.0)


if __name__ == "__main__":
    main()

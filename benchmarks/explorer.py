"""Time the explorer's tile requests over HTTP at a million tokens, and measure the memory of its processes.

The benchmark starts `maskwork explore` and replays a visit over one connection: the whole matrix, then zooms and pans
to random places at every scale, with one request for each tile of 256 x 256 pixels. Two figures are judged: the median
time from request to answer, and the resident memory of the server and its processes at the end.

    python benchmarks/explorer.py --json explorer.json
"""

from __future__ import annotations

import http.client
import platform
import random
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

from _common import finish, parser_of

N = 1 << 20
TILE = 256
#: Limits on the median of a tile in milliseconds, and on memory in MB.
LIMIT_MS, LIMIT_MB = 40.0, 1000.0


def mask_of(n: int, documents: int) -> str:
    """Return the text of a mask: a window and sinks within documents of equal length; the last takes the remainder."""
    size = n // documents
    lengths = [size] * (documents - 1) + [n - size * (documents - 1)]
    return f"causal & (sliding_window(4096) | sinks(4)) & document({lengths})".replace(", ", ",")


def visit(n: int, requests: int) -> list[dict[str, int]]:
    """Return step and corner of each requested tile: the whole matrix, then places near the diagonal and elsewhere."""
    chance = random.Random(0)
    largest = max(n // TILE, 1).bit_length() - 1
    tiles = [{"step": 1 << largest, "q0": 0, "k0": 0}]
    while len(tiles) < requests:
        step = 1 << chance.randrange(largest + 1)
        row = chance.randrange(max(n // (step * TILE), 1)) * step * TILE
        diagonal = max(row - chance.randrange(3) * step * TILE, 0)
        column = chance.randrange(max(n // (step * TILE), 1)) * step * TILE
        tiles.append({"step": step, "q0": row, "k0": diagonal if chance.random() < 0.8 else column})
    return tiles


def memory(process: int) -> float:
    """Read from Linux the MB resident in a process and its children."""
    total = 0.0
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            total += int(line.split()[1]) / 1024
    return total + sum(memory(int(child)) for child in children)


def main() -> None:
    """Start the server, send the requests of a visit, and compare the figures with the limits."""
    parser = parser_of(__doc__)
    parser.add_argument("--tokens", type=int, default=N)
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--requests", type=int, default=200)
    args = parser.parse_args()
    command = [sys.executable, "-u", "-m", "maskwork", "explore", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = re.search(r"http://([\d.]+:\d+)/", server.stdout.readline())
        assert address, "the server prints no address"
        connection = http.client.HTTPConnection(address[1])
        mask = mask_of(args.tokens, args.documents)
        times = [
            request(connection, "tile", {"mask": mask, "length": args.tokens, "rows": TILE, "columns": TILE, **tile})
            for tile in visit(args.tokens, args.requests)
        ]
        grid = {"mask": mask, "length": args.tokens}
        answers = {
            "describe": request(connection, "describe", grid),
            "why": request(connection, "why", grid | {"q": args.tokens - 1, "k": 0}),
            "row": request(connection, "row", grid | {"q": args.tokens - 1}),
            "column": request(connection, "column", grid | {"k": 0}),
        }
        megabytes = memory(server.pid)
    finally:
        server.terminate()
        server.wait()
    median, worst = statistics.median(times), max(times[1:])
    print(f"{args.tokens:,} tokens, {args.documents} documents, {len(times)} tiles; {platform.machine()}")
    print(f"first tile, cold      {times[0]:8.1f} ms")
    print(f"a tile, median        {median:8.1f} ms   (at most {LIMIT_MS:g})")
    print(f"a tile, slowest       {worst:8.1f} ms")
    for name, milliseconds in answers.items():
        print(f"{name:21} {milliseconds:8.1f} ms")
    print(f"server and processes  {megabytes:8.0f} MB   (at most {LIMIT_MB:g})")
    missed = [f"a tile takes {median:.1f} ms, at most {LIMIT_MS:g}"] * (median > LIMIT_MS)
    missed += [f"the processes take {megabytes:.0f} MB, at most {LIMIT_MB:g}"] * (megabytes > LIMIT_MB)
    figures = {"first": times[0], "median": median, "slowest": worst, "MB": megabytes, **answers}
    finish(figures, missed, args.json)


def request(connection: http.client.HTTPConnection, endpoint: str, parameters: dict[str, str | int]) -> float:
    """Send a request and return the milliseconds until the whole answer is read."""
    start = time.perf_counter()
    connection.request("GET", f"/api/{endpoint}?{urlencode(parameters)}")
    answer = connection.getresponse()
    body = answer.read()
    milliseconds = (time.perf_counter() - start) * 1e3
    assert answer.status == 200, body[:300]
    return milliseconds


if __name__ == "__main__":
    main()

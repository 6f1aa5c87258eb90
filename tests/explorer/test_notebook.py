"""`mw.explore`: a frame on a server of this process, begun once, that shows the mask it was given."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import numpy as np
import pytest

import maskwork as mw
from maskwork.errors import ArgumentError, GridError, ParseError


def shown(page: object) -> dict[str, str]:
    """What the page's address says."""
    return {name: values[0] for name, values in parse_qs(urlsplit(str(page)).query).items()}


def test_a_notebook_gets_a_frame_and_a_console_the_address():
    page = mw.explore(mw.causal() & mw.sliding_window(8), length=64, height=480)
    assert repr(page) == page.address
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?[^#]+#token=[\w-]{20,}", page.address)
    assert shown(page) == {"mask": "causal & sliding_window(8)", "length": "64"}
    html = page._repr_html_()
    assert html.startswith('<iframe src="http://127.0.0.1:')
    assert 'height="480"' in html
    assert "&length" not in html  # escaped, as an attribute is


def test_the_page_is_there_and_answers():
    page = mw.explore("causal", length=8)
    at = page.address.split("?")[0]
    with httpx2.Client(base_url=at, trust_env=False) as client:
        assert "<title>maskwork explorer</title>" in client.get("/").text
        assert client.get("/api/describe", params=shown(page)).json()["allowed"] == 36


def test_all_pages_are_of_one_server():
    first, second = (urlsplit(mw.explore(mask).address) for mask in (mw.causal(), mw.full()))
    assert first.netloc == second.netloc
    assert first.fragment == second.fragment


def test_a_bound_mask_brings_its_grid():
    assert shown(mw.explore(mw.causal().bind(24))) == {"mask": "causal", "length": "24"}
    bound = mw.per_head([mw.causal(), mw.full()]).bind(4, 24, q_start=20, batch=3, heads=2)
    assert shown(mw.explore(bound)) == {
        "mask": "per_head([causal, full])", "length": "24", "q_len": "4", "q_start": "20", "batch": "3", "heads": "2",
    }  # fmt: skip


def test_long_arrays_come_along():
    mask = mw.causal() & mw.document([3] * 40)
    assert mw.parse(shown(mw.explore(mask, length=120))["mask"]) == mask


@pytest.mark.parametrize(
    ("mask", "length", "error", "said"),
    [
        ("causl", None, ParseError, "did you mean 'causal'"),
        (mw.custom(lambda b, h, q, k: k <= q), None, ArgumentError, "none that can be read back"),
        (mw.causal().bind(8), 8, ArgumentError, "leave it out"),
        (mw.causal(), 0, ArgumentError, "length is a number from 1 to 1048576, got '0'"),
        (mw.causal(), (1 << 20) + 1, ArgumentError, "length is a number from 1 to 1048576, got '1048577'"),
        (mw.document([3, 4]), 9, GridError, "reach 7"),
        (mw.causal().bind(0), None, ArgumentError, "length is a number from 1"),
        (mw.causal().bind(0, 8, q_start=8), None, ArgumentError, "q_len is a number from 1 to 1048576, got '0'"),
        (mw.causal().bind(8, 8, q_start=1 << 21), None, ArgumentError, "q_start is a number from 0 to 1048576"),
        (mw.causal().bind((1 << 20) + 1, 8, q_start=0), None, ArgumentError, "q_len is a number"),
        (mw.causal().bind(8, batch=257), None, ArgumentError, "batch is a number from 1 to 256, got '257'"),
        (mw.causal().bind(8, heads=300), None, ArgumentError, "heads is a number from 1 to 256, got '300'"),
        (mw.document([1] * 16_000), 16_000, ArgumentError, "16000 characters here, got 48010"),
        (None, None, ArgumentError, "a mask, its text or a bound mask, got NoneType"),
        (5, None, ArgumentError, "got int"),
        (b"causal", None, ArgumentError, "got bytes"),
        ([mw.causal()], None, ArgumentError, "got list"),
        (np.ones((2, 2), bool), None, ArgumentError, "got ndarray"),
        (mw.causal, None, ArgumentError, "got function"),
    ],
)
def test_what_the_page_would_refuse_is_said_at_once(mask: Any, length: int | None, error: type[Exception], said: str):
    with pytest.raises(error, match=said) as caught:
        mw.explore(mask, length=length)
    assert error is ParseError or len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("height", [0, -1, 1.5, "600", None, True, '1" onload="'])
def test_a_height_is_a_number_of_pixels(height: Any):
    with pytest.raises(ArgumentError, match=r"height must be (at least 1|an integer), got"):
        mw.explore("causal", height=height)


def test_a_script_is_run_once(tmp_path: Path):
    """It has no `if __name__ == "__main__"`, and its name and neighbours are nobody's business."""
    (tmp_path / "pickle.py").write_text("raise SystemExit('not the standard library')")
    script = tmp_path / "s.py"
    script.write_text(
        "import sys\n"
        "sys.path.pop(0)\n"
        "import maskwork as mw, urllib.request\n"
        "print('run', flush=True)\n"
        "page = mw.explore('causal', length=8)\n"
        "at = page.address.split('?')[0]\n"
        "opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n"
        "for name in ('describe', 'tile'):\n"
        "    print(len(opener.open(f'{at}api/{name}?mask=causal&length=8').read()) > 0)\n"
    )
    done = subprocess.run([sys.executable, "s.py"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == ["run", "True", "True"]
    assert done.stderr == ""


def test_the_library_needs_nothing_of_the_web_until_it_is_asked_for():
    code = "import sys, maskwork; maskwork.explore; print({'starlette', 'uvicorn', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_the_extra_the_mend_is_said():
    code = (
        "import sys\n"
        "sys.modules['uvicorn'] = None\n"
        "import maskwork as mw\n"
        "try: mw.explore(mw.causal())\n"
        "except mw.errors.ArgumentError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "uvicorn is not installed; pip install 'maskwork[explore]'" in done.stdout

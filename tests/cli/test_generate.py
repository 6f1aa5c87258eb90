"""`maskwork generate` as a person types it: one text however it is decoded, and prompts that do not fit."""

import sys
from pathlib import Path

import pytest

from helpers.command_line import maskwork, refuses, tiny_run
from maskwork.errors import ArgumentError
from maskwork.training import RunFolder


def test_generate(work: Path):
    one = maskwork("generate", "run", "--prompt", "line 3", "--max-tokens", "12", cwd=work)
    assert one.returncode == 0, one.stderr
    assert one.stdout.startswith("line 3")
    streamed = maskwork("generate", "run", "--prompt", "line 3", "--max-tokens", "12", "--stream", cwd=work)
    uncached = maskwork("generate", "run", "--prompt", "line 3", "--max-tokens", "12", "--no-cache", cwd=work)
    piped = maskwork("generate", "run", "--prompt", "-", "--max-tokens", "12", cwd=work, stdin="line 3")
    assert one.stdout == streamed.stdout == uncached.stdout == piped.stdout
    options = ("--temperature", "1", "--top-k", "20", "--top-p", "0.9", "--max-tokens", "12")
    texts = [
        maskwork("generate", "run", "--prompt", "line", *options, "--seed", seed, cwd=work).stdout for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_a_prompt_longer_than_the_context(work: Path):
    long = "line 1 of file 2 " * 50
    refuses(maskwork("generate", "run", "--prompt", long, cwd=work), "context of 32 tokens", "--truncate left")
    done = maskwork("generate", "run", "--prompt", long, "--truncate", "left", "--max-tokens", "3", cwd=work)
    assert done.returncode == 0
    assert "3 tokens" in done.stderr


def test_a_prompt_from_a_closed_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from maskwork.cli import generate

    class Vocabulary:
        vocab_size = 20

    monkeypatch.setattr(RunFolder, "load_tokenizer", lambda self: Vocabulary())
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ArgumentError, match="standard input, which is closed"):
        generate.command(tiny_run(tmp_path / "run", 12), prompt="-")

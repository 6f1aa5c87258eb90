"""`maskwork generate`: continue a prompt with a trained run."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Truncate(StrEnum):
    """The end from which a prompt that is too long may be cut."""

    LEFT = "left"


def command(
    run: Annotated[Path, typer.Argument(help="Run folder of a trained model.")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="Text to continue; '-' reads standard input.")],
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Most tokens to generate.")] = 100,
    stream: Annotated[bool, typer.Option("--stream", help="Print the text as it comes.")] = False,
    temperature: Annotated[
        float, typer.Option("--temperature", "-t", help="0 always takes the likeliest token.")
    ] = 0.0,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Choose among the k likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option("--top-p", help="Choose among the likeliest that add up to p.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the choice.")] = 0,
    truncate: Annotated[
        Truncate | None,
        typer.Option("--truncate", help="Cut a prompt that exceeds the context, from this end."),
    ] = None,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Decode with the KV cache.")] = True,
) -> None:
    """Continue a prompt; the text ends at end-of-text, at --max-tokens or where the context is full.

    Example: [bold]maskwork generate runs/demo --prompt "def read_" --stream --temperature 0.7 --top-p 0.9[/bold]
    """
    from ..decoding import Sampling
    from ..errors import ArgumentError, PromptTooLong
    from ..training import RunFolder
    from ._completion import complete, encode_prompt, write_now

    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    folder = RunFolder.open(run)
    model, tokenizer = folder.load_model().eval(), folder.load_tokenizer()
    if tokenizer.vocab_size != model.config.vocab_size:
        raise ArgumentError(
            f"a run's tokenizer and model share a vocabulary, got {tokenizer.vocab_size} and "
            f"{model.config.vocab_size} tokens in '{run}'; restore tokenizer.json"
        )
    if prompt == "-" and sys.stdin is None:
        raise ArgumentError("--prompt - reads standard input, which is closed; pipe a text in, or give it to --prompt")
    text = sys.stdin.read() if prompt == "-" else prompt
    tokens = encode_prompt(tokenizer, text)
    context = model.config.context
    if len(tokens) > context and truncate is None:
        raise PromptTooLong(
            f"a prompt must fit the model's context of {context} tokens, got {len(tokens)}; shorten it, or "
            "keep its end with --truncate left"
        )
    # Half of the context at most, so that there is room to continue.
    tokens = tokens if len(tokens) <= context else tokens[-max(1, context // 2) :]

    if stream:
        write_now(text)
    done = complete(
        model,
        tokenizer,
        tokens,
        max_tokens=max_tokens,
        sampling=sampling,
        use_cache=cache,
        emit=write_now if stream else lambda piece: None,
    )
    write_now("\n" if stream else text + done.text + "\n")
    typer.echo(f"{len(done.tokens)} tokens, {done.tokens_per_second:.0f} tokens/s", err=True)

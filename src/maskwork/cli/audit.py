"""`maskwork audit`: does a trained run honour its mask?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="Run folder of a trained model.")],
    length: Annotated[
        int | None,
        typer.Option("--length", "-n", min=4, max=512, help="Tokens of the sequence audited; 64, or the context."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the tokens.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Prove that a trained model honours its mask; exit code 1 when it does not.

    Every token is replaced in turn: future tokens, and other documents in a packed row, may not change an output by
    one bit; decoding with the cache must give what one pass gives.

    Example: [bold]maskwork audit runs/demo[/bold]
    """
    import torch

    from ..errors import ArgumentError
    from ..proof import audit
    from ..training import RunFolder

    model = RunFolder.open(run).load_model()
    context = model.config.context
    if context < 4:
        raise ArgumentError(
            f"an audit needs a sequence of 4 tokens, this model's context is {context}; train one with a longer context"
        )
    length = min(64, context) if length is None else length
    if length > context:
        raise ArgumentError(f"--length must be at most the model's context of {context}, got {length}; lower it")
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, model.config.vocab_size, (length,), generator=generator)
    report = audit(model, tokens, model.mask)
    typer.echo(report.to_json() if as_json else str(report))
    if not report.ok:
        raise typer.Exit(1)

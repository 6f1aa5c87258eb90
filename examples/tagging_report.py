"""Reports on a tagger from its confusion matrix: a table of every tag, and a picture."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.table import Table


def scores(confusion: torch.Tensor) -> torch.Tensor:
    """Compute (tags, 3) precision, recall and F1, in percent; NaN where there is nothing to divide by."""
    right = confusion.diagonal().double()
    precision, recall = right / confusion.sum(0), right / confusion.sum(1)
    return 100 * torch.stack([precision, recall, 2 * right / (confusion.sum(0) + confusion.sum(1))], dim=-1)


def per_tag(tags: list[str], confusions: dict[str, torch.Tensor]) -> Table:
    """Tabulate precision, recall and F1 of every tag by every model, and how many words bear the tag."""
    table = Table("tag", title="Test, per tag, in percent")
    table.add_column("words", justify="right")
    for name in confusions:
        for heading in (f"{name}\nprecision", "\nrecall", "\nF1"):
            table.add_column(heading, justify="right")
    by_model = [scores(confusion) for confusion in confusions.values()]
    words = next(iter(confusions.values())).sum(1)
    for i, tag in enumerate(tags):
        numbers = torch.cat([of_model[i] for of_model in by_model]).tolist()
        table.add_row(tag, f"{words[i]:,}", *("-" if number != number else f"{number:.1f}" for number in numbers))
    return table


def draw(tags: list[str], confusions: dict[str, torch.Tensor], path: Path) -> None:
    """Draw each model's confusion matrix, in percent of the words that bear the tag, in shades of grey."""
    figure = Figure(figsize=(9 * len(confusions), 8.4), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(confusions), squeeze=False)[0]
    for axes, (name, confusion) in zip(panels, confusions.items(), strict=True):
        share = 100 * confusion.double() / confusion.sum(1, keepdim=True).clamp(min=1)
        axes.imshow(
            (share / 100).sqrt().numpy(), cmap="Greys", vmin=0, vmax=1
        )  # the root makes rare confusions visible
        for row, column in (share >= 0.5).nonzero().tolist():
            dark = share[row, column] > 35
            axes.text(column, row, f"{share[row, column]:.0f}", ha="center", va="center", color="w" if dark else "k")
        axes.set_xticks(range(len(tags)), tags, rotation=90)
        axes.set_yticks(range(len(tags)), tags)
        axes.set(xlabel="tag given by the model", ylabel="tag of the treebank")
        axes.set_title(f"{name}: % of the words that bear the tag (below 0.5 left out)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)

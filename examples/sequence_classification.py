"""Sequences classified by an RNN read at the last real index: padding on the right or on the left changes nothing.

The task: which of the tokens 0 and 1 came last? Padding has id 0, so a model that reads padding as text is misled.

    python examples/sequence_classification.py
"""

from __future__ import annotations

import random

import torch
from torch import nn

import maskwork as mw
from maskwork.objectives import SequenceBatch, SequenceClassification

VOCABULARY, STEPS = 8, 100


def draw(n: int, chance: random.Random) -> list[tuple[list[int], int | None]]:
    """Return sequences of 2 to 12 tokens, each with its class; one in ten has no label, and weight 0."""
    sequences = []
    for _ in range(n):
        tokens = [chance.choice((0, 1)), *(chance.randrange(VOCABULARY) for _ in range(chance.randint(1, 11)))]
        label = next(token for token in reversed(tokens) if token < 2)
        sequences.append((tokens, None if chance.random() < 0.1 else label))
    return sequences


class Classifier(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, 2)

    def forward(self, batch: SequenceBatch) -> torch.Tensor:
        """Compute (B, 2) logits from the hidden states at each sequence's last real index."""
        return self.head(batch.pool(self.hidden(batch)))

    def hidden(self, batch: SequenceBatch) -> torch.Tensor:
        """Compute (B, L, W) hidden states of the real tokens alone: padding on the left would come first."""
        x = self.embedding(batch.input_ids)
        packed = nn.utils.rnn.pack_sequence([row[real] for row, real in zip(x, batch.real, strict=True)], False)
        states = nn.utils.rnn.unpack_sequence(self.rnn(packed)[0])
        return torch.zeros_like(x).masked_scatter(batch.real[..., None], torch.cat(states))

    def read_at_the_end(self, batch: SequenceBatch) -> torch.Tensor:
        """Compute (B, 2) logits by the usual mistake: run over padding too, and read the last column."""
        return self.head(self.rnn(self.embedding(batch.input_ids))[0][:, -1])


def accuracy(logits: torch.Tensor, batch: SequenceBatch) -> float:
    return float((logits.argmax(-1) == batch.targets)[batch.scored].double().mean())


def main() -> None:
    torch.manual_seed(0)
    chance = random.Random(0)
    right, left = (SequenceClassification(read="last", side=side) for side in ("right", "left"))

    model = Classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(1, STEPS + 1):
        batch = right(draw(64, chance))
        out = mw.masked_cross_entropy(model(batch), batch.targets, batch.weights)
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step}: loss {out.loss.item():.4f} over {out.n_targets} of 64 sequences, which have a label")

    held_out = draw(1000, chance)
    padded_right, padded_left = right(held_out), left(held_out)
    with torch.no_grad():
        on_the_right, on_the_left = model(padded_right), model(padded_left)
        mistaken = model.read_at_the_end(padded_right)
    difference = float((on_the_right - on_the_left).abs().max())
    assert difference < 1e-6, f"the side of the padding changed the logits by {difference}"
    print(f"padded on the right: {accuracy(on_the_right, padded_right):.1%}")
    print(f"padded on the left:  {accuracy(on_the_left, padded_left):.1%}, logits differ by at most {difference:g}")
    print(f"read at the last column, padded on the right: {accuracy(mistaken, padded_right):.1%}")


if __name__ == "__main__":
    main()

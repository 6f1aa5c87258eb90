"""Part-of-speech tags from one `Batch`, two ways: a BiLSTM on `PackedSequence`, a Transformer encoder under the mask.

The data is a Universal Dependencies treebank as downloaded: `*-train.conllu`, `*-dev.conllu` and `*-test.conllu`,
gzipped or not. Both models read the same features, none pretrained: an embedding of the words of the training split
beside a convolution over each word's characters (Ma & Hovy 2016), which also reads words that are not in the training
split. Each model keeps the weights of its best epoch on dev, and is evaluated on test once.

    python examples/pos_tagging.py --data UD_English-EWT
"""

from __future__ import annotations

import argparse
import copy
import gzip
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

import maskwork as mw
from maskwork.objectives import Batch, Example, TokenTagging, collate, pad
from tagging_report import draw, per_tag

TAGS = [
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM",
    "VERB", "X",
]  # fmt: skip
SPLITS = ("train", "dev", "test")
LETTERS_OF_A_WORD = 20  # of a longer word, both ends


class Sentence(NamedTuple):
    """The words of a sentence, and a tag for each: "_" where the treebank has none."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


def read_conllu(path: Path) -> list[Sentence]:
    """Return the sentences of a CoNLL-U file: column 2 (FORM) and column 4 (UPOS) of each word."""
    sentences, words = [], []
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for line in [*lines, "\n"]:  # the last sentence may lack its empty line
            fields = line.rstrip("\r\n").split("\t")
            # A comment is "# …", "1-2" a range of words that follow one by one, "1.1" an empty node: none is a word.
            if fields[0].isdigit():
                words.append((fields[1], fields[3]))
            elif fields == [""] and words:
                sentences.append(Sentence(*zip(*words, strict=True)))
                words = []
    return sentences


class Lexicon:
    """A number for every form of a word, which is the model's token id, and the tables that models read by that number.

    Attributes:
        ids: form -> number.
        known: (forms,) bool: whether the training split has this very form.
        rows: (forms,) int64, the row of the form's embedding. Row 0 is shared by the words that the training split has
            once, so that the row learns about rare words, and by the words that it does not have.
        spelling: (forms, 20) int64, the form's characters, numbered from 2; 1 is a character that the training split
            does not have, 0 is padding.
    """

    def __init__(self, train: list[Sentence], *others: list[Sentence]) -> None:
        trained = {word for sentence in train for word in sentence.words}
        forms = sorted(trained.union(*(sentence.words for split in others for sentence in split)))
        counts = Counter(word.lower() for sentence in train for word in sentence.words)
        row = {word: i for i, word in enumerate((word for word, n in counts.items() if n > 1), start=1)}
        letters = {letter: i for i, letter in enumerate(sorted({c for word in trained for c in word}), start=2)}
        self.ids = {form: i for i, form in enumerate(forms)}
        self.known = torch.tensor([form in trained for form in forms])
        self.rows = torch.tensor([row.get(form.lower(), 0) for form in forms])
        self.spelling = torch.tensor([_spelling(form, letters) for form in forms])
        self.n_rows, self.n_letters = len(row) + 1, len(letters) + 2

    def examples(self, sentences: list[Sentence]) -> list[Example]:
        """Return an example of each sentence: every word that has a tag is scored."""
        tagging, number = TokenTagging(), {tag: i for i, tag in enumerate(TAGS)} | {"_": None}
        return [
            tagging.example(([self.ids[word] for word in words], [number[tag] for tag in tags]))
            for words, tags in sentences
        ]


def _spelling(form: str, letters: dict[str, int]) -> list[int]:
    half = LETTERS_OF_A_WORD // 2
    ends = form if len(form) <= LETTERS_OF_A_WORD else form[:half] + form[-half:]
    return [letters.get(letter, 1) for letter in ends] + [0] * (LETTERS_OF_A_WORD - len(ends))


class WordFeatures(nn.Module):
    """The features of words: (B, L) numbers of forms -> (B, L, `width`)."""

    def __init__(self, lexicon: Lexicon, word: int = 100, letter: int = 32, shape: int = 100) -> None:
        super().__init__()
        self.width = word + shape
        self.register_buffer("rows", lexicon.rows, persistent=False)
        self.register_buffer("spelling", lexicon.spelling, persistent=False)
        self.words = nn.Embedding(lexicon.n_rows, word)
        nn.init.normal_(self.words.weight, std=0.1)  # larger random rows would outweigh the spelling of rare words
        self.letters = nn.Embedding(lexicon.n_letters, letter, padding_idx=0)
        self.convolution = nn.Conv1d(letter, shape, kernel_size=5, padding=2)
        self.dropout = nn.Dropout(0.3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows = self.rows[ids]
        if (
            self.training
        ):  # a tenth of the words count as unknown, so that the model learns from spelling and neighbours
            rows = rows.where(torch.rand(rows.shape, device=rows.device) >= 0.1, 0)
        forms, places = ids.unique(return_inverse=True)  # each spelling is read once a batch
        spelling = self.spelling[forms]
        shapes = self.convolution(self.letters(spelling).transpose(1, 2))
        shapes = shapes.masked_fill((spelling == 0).unsqueeze(1), -torch.inf).amax(-1).relu()
        return self.dropout(torch.cat([self.words(rows), shapes[places]], dim=-1))


class BiLSTM(nn.Module):
    """A reader of each sentence in both directions, on `PackedSequence`: there is no padding to read."""

    def __init__(self, lexicon: Lexicon, hidden: int = 128) -> None:
        super().__init__()
        self.features = WordFeatures(lexicon)
        self.lstm = nn.LSTM(self.features.width, hidden, bidirectional=True)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * hidden, len(TAGS)))

    def forward(self, batch: Batch) -> torch.Tensor:
        packed, _ = self.lstm(batch.pack_sequence(self.features(batch.input_ids)))
        return self.head(batch.unpack_sequence(packed))


class Transformer(nn.Module):
    """An encoder that attends in both directions under the batch's mask, which hides the padding."""

    def __init__(self, lexicon: Lexicon, longest: int, width: int = 128, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.features = WordFeatures(lexicon)
        self.enter = nn.Linear(self.features.width, width)
        self.rotary = mw.nn.Rotary(width // heads, longest)
        self.attentions = nn.ModuleList(mw.nn.Attention(width, heads) for _ in range(layers))
        self.feed_forwards = nn.ModuleList(mw.nn.SwiGLU(width, 2 * width) for _ in range(layers))
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(2 * layers + 1))
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(width, len(TAGS))

    def forward(self, batch: Batch) -> torch.Tensor:
        rows, length = batch.input_ids.shape
        mask = batch.mask.bind(length, batch=rows)  # once, for all layers
        rotary = self.rotary(batch.position_ids)
        x = self.enter(self.features(batch.input_ids))
        for layer, (attention, feed_forward) in enumerate(zip(self.attentions, self.feed_forwards, strict=True)):
            x = x + self.dropout(attention(self.norms[2 * layer](x), mask=mask, rotary=rotary))
            x = x + self.dropout(feed_forward(self.norms[2 * layer + 1](x)))
        return self.head(self.norms[-1](x))


def batches(examples: list[Example], size: int, order: random.Random) -> Iterator[Batch]:
    """Yield all examples once, in batches of about one length, so that little is padding."""
    by_length = sorted(examples, key=lambda example: len(example) * order.uniform(0.9, 1.1))
    starts = list(range(0, len(examples), size))
    order.shuffle(starts)
    for start in starts:
        yield collate(pad(by_length[start : start + size]))


class Predictions(NamedTuple):
    """The form's number, its tag and the predicted tag of all scored words, (N,) int64 each."""

    forms: torch.Tensor
    tags: torch.Tensor
    predicted: torch.Tensor

    def accuracy(self, among: torch.Tensor | None = None) -> float:
        """Return the share of right tags, of all words or of those marked in `among`, (N,) bool."""
        right = self.tags == self.predicted
        return float((right if among is None else right[among]).double().mean())

    def confusion(self) -> torch.Tensor:
        """Count the words of each tag (row) by their predicted tag (column): (tags, tags) int64."""
        n = len(TAGS)
        return (self.tags * n + self.predicted).bincount(minlength=n * n).view(n, n)


@torch.no_grad()
def predict(model: nn.Module, examples: list[Example]) -> Predictions:
    model.eval()
    parts = [
        (batch.input_ids[batch.scored], batch.targets[batch.scored], model(batch).argmax(-1)[batch.scored])
        for batch in batches(examples, 128, random.Random(0))
    ]
    return Predictions(*map(torch.cat, zip(*parts, strict=True)))


def fit(
    model: nn.Module, train: list[Example], dev: list[Example], epochs: int, seed: int, progress: Progress
) -> float:
    """Train the model, restore the weights of the epoch that is best on dev, and return the accuracy there."""
    size, rate, order = 64, 5e-3, random.Random(seed)
    steps = -(-len(train) // size)
    optimizer = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.98))
    warmup, end = 1 + steps * epochs // 10, steps * epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(  # up in a line, then down in a line
        optimizer, lambda step: min((step + 1) / warmup, (end - step) / (end - warmup + 1))
    )
    name, best, best_state = type(model).__name__, -1.0, {}
    for epoch in range(1, epochs + 1):
        task = progress.add_task(f"{name}, epoch {epoch}", total=steps, loss=float("nan"))
        model.train()
        for batch in batches(train, size, order):
            loss = mw.masked_cross_entropy(model(batch), batch.targets, batch.weights).loss
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            progress.update(task, advance=1, loss=loss.item())
        accuracy = predict(model, dev).accuracy()
        progress.update(task, description=f"{name}, epoch {epoch}: dev {accuracy:.2%}")
        if accuracy > best:
            best, best_state = accuracy, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the treebank's three .conllu files")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("runs/pos-tagging/confusion.png"))
    options = parser.parse_args()
    console = Console()
    torch.set_num_threads(1)  # the steps of both models are small: more threads take longer

    splits = {}
    for split in SPLITS:
        path = next(iter(sorted(options.data.glob(f"*-{split}.conllu*"))), None)
        if path is None:
            parser.error(f"--data needs a file *-{split}.conllu or *-{split}.conllu.gz, got none in {options.data}")
        splits[split] = read_conllu(path)
        console.print(f"{split}: {len(splits[split]):,} sentences, {sum(len(s.words) for s in splits[split]):,} words")
    lexicon = Lexicon(splits["train"], splits["dev"], splits["test"])
    train, dev, test = (lexicon.examples(splits[split]) for split in SPLITS)
    longest = max(len(example) for example in train + dev + test)

    confusions = {}
    for name, make in {"BiLSTM": lambda: BiLSTM(lexicon), "Transformer": lambda: Transformer(lexicon, longest)}.items():
        torch.manual_seed(options.seed)
        model = make()
        wall, cpu = time.perf_counter(), time.process_time()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("loss {task.fields[loss]:.3f}"))
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            best = fit(model, train, dev, options.epochs, options.seed, progress)
        predictions = predict(model, test)
        unseen = ~lexicon.known[predictions.forms]
        parameters = sum(p.numel() for p in model.parameters())
        confusions[name] = predictions.confusion()
        console.print(
            f"{name}: dev {best:.2%}, test {predictions.accuracy():.2%}, of words unseen in training "
            f"{predictions.accuracy(unseen):.2%}; {parameters:,} "
            f"parameters, {time.perf_counter() - wall:.0f} s, {time.process_time() - cpu:.0f} s of CPU",
            soft_wrap=True,
        )
    console.print(per_tag(TAGS, confusions))
    draw(TAGS, confusions, options.picture)
    console.print(f"confusion matrices: {options.picture}", soft_wrap=True)


if __name__ == "__main__":
    main()

"""`Experiment`: a corpus and a recipe made ready to train: tokenizer, packed rows, model, validation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data import Corpus, PackedRow, Tokenizer, pack, read_corpus, standard_library, train_tokenizer
from ..errors import CheckpointError, DataError
from ..masks import parse
from ..models import Transformer
from ..objectives import CausalLM
from ._checkpoint import first_difference
from ._evaluate import bits_per_byte, evaluate
from ._loop import train
from ._progress import TrainResult
from ._recipe import Recipe
from ._run import RunFolder
from ._trainer import OnStep

#: The source that stands for the running Python's standard library.
STANDARD_LIBRARY = "standard library"

#: Rows of the quick validations during training; the last validation, afterwards, reads all rows.
QUICK_ROWS = 64


@dataclass(frozen=True, eq=False)
class Experiment:
    """A corpus and a recipe made ready to train; made by `prepare`.

        source -> corpus -> tokenizer -> packed rows -> model -> run folder

    Attributes:
        corpus: the text of both sides.
        source: where the corpus was read from: a path, or `STANDARD_LIBRARY`.
        recipe: how to train; its `model.vocab_size` is the real size of the vocabulary.
        tokenizer: trained on the training side.
        train_rows: the packed rows of the training side.
        validation_rows: the packed rows of the validation side.
    """

    corpus: Corpus
    source: str
    recipe: Recipe
    tokenizer: Tokenizer
    train_rows: Sequence[PackedRow]
    validation_rows: Sequence[PackedRow]

    @staticmethod
    def prepare(source: str, recipe: Recipe, *, cache_dir: Path | None = None) -> Experiment:
        """Read the corpus, train the tokenizer (or load it from the cache), and pack both sides into rows.

        Raises:
            DataError: the corpus can't be read, or its training side is shorter than one row.
            ArgumentError: the model's mask shows later tokens, which the objective predicts.
        """
        corpus = standard_library() if source == STANDARD_LIBRARY else read_corpus(source)
        tokenizer = train_tokenizer(corpus.train, recipe.model.vocab_size, cache_dir)
        context = recipe.model.context
        sides: list[list[PackedRow]] = []
        for name, documents in (("training", corpus.train), ("validation", corpus.validation)):
            examples = [tokenizer.encode_document(document.text) for document in documents]
            tokens = sum(len(example) for example in examples)
            # Validation may be shorter than a row: padding is not scored. Training on padding is a mistake.
            if tokens < (context if name == "training" else 2):
                raise DataError(
                    f"a corpus must fill at least one block of {context} tokens, got {tokens} in the {name} part of "
                    f"{corpus.name!r}; give more text, or a smaller context in the recipe's [model]"
                )
            # All examples are in memory already: one buffer for them all, and for the overlap of their pieces.
            sides.append(list(pack(examples, context, recipe.packing, "split", buffer=1 + 2 * tokens // context)))
        # A mask that shows the future raises here, before a run folder is made.
        CausalLM(parse(recipe.model.mask))(sides[0][:1])
        recipe = replace(recipe, model=replace(recipe.model, vocab_size=tokenizer.vocab_size))
        return Experiment(corpus, source, recipe, tokenizer, *sides)

    @property
    def objective(self) -> CausalLM:
        """Next-token prediction under the model's own mask, restarted in each document."""
        return CausalLM(parse(self.recipe.model.mask))

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that the run folder's config.json holds, and that a resumed run must share."""
        values = self.recipe.to_dict()
        data = {
            "source": self.source,
            "corpus": self.corpus.name,
            "digest": self.corpus.digest,
            "tokenizer": self.tokenizer.digest,
        }
        return values | {"data": values["data"] | data}

    def check(self, run: RunFolder) -> None:
        """Raise `CheckpointError`, naming the field, unless `run` was made for this experiment."""
        # The place and the name of the text may change; the digest tells whether the text is the same.
        config = json.loads(json.dumps(self.config))
        config["data"] |= {name: run.config["data"].get(name) for name in ("source", "corpus")}
        if difference := first_difference(run.config, config):
            field, saved, current = difference
            raise CheckpointError(
                f"a run is resumed with what it was begun with, got {field} = {current} where '{run.path}' has "
                f"{saved}; leave --data, --config, --steps and --seed out, or start a new run in another folder"
            )

    def new_model(self) -> Transformer:
        """Return a fresh model; equal seeds give equal models."""
        model = Transformer(self.recipe.model)
        model.init_weights(torch.Generator().manual_seed(self.recipe.train.seed))
        return model

    def fit(
        self, run: RunFolder, *, resume: bool = False, on_step: OnStep | None = None
    ) -> tuple[Transformer, TrainResult]:
        """Train a model in `run`, or continue from the checkpoint of `run`."""
        model = self.new_model()
        result = train(
            model,
            self.train_rows,
            self.objective,
            self.recipe.train,
            run=run,
            validate=self.validate_quickly,
            resume=resume,
            on_step=on_step,
        )
        return model.eval(), result

    def validate_quickly(self, model: nn.Module) -> dict[str, float]:
        """Compute what `validate` computes, on rows spread evenly over the validation side."""
        step = -(-len(self.validation_rows) // QUICK_ROWS)
        return self._score(model, self.validation_rows[::step])

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Compute nats per token and bits per byte over the whole validation side.

        Every token is scored once: the first token of a document is predicted from the end-of-text token before it.
        """
        return self._score(model, self.validation_rows)

    def _score(self, model: nn.Module, rows: Sequence[PackedRow]) -> dict[str, float]:
        evaluation = evaluate(model, rows, self.objective, self.recipe.train.batch_rows)
        return {
            "validation_loss": evaluation.nats_per_target,
            "bits_per_byte": bits_per_byte(evaluation.nats, self.bytes_of(rows)),
        }

    def bytes_of(self, rows: Sequence[PackedRow]) -> int:
        """Count the UTF-8 bytes of the tokens that these rows predict; over all rows, the bytes of the documents."""
        # A block's first token is read and not predicted.
        counts = Counter(token for row in rows for block in row.documents for token in block[1:].tolist())
        return sum(count * len(self.tokenizer.token_bytes(token)) for token, count in counts.items())

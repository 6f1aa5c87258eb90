"""The one rule for numbers, and that every public integer parameter of the package follows it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maskwork as mw
from maskwork._shared.numbers import at_least, between, finite, integer, is_integer, is_number
from maskwork.data import Document, PackedRow, as_tokens, pack, train_tokenizer
from maskwork.decoding import Sampling, generate
from maskwork.errors import ArgumentError, DataError, MaskworkError
from maskwork.models import ModelConfig, Transformer
from maskwork.objectives import CausalLM, ChatML, Curriculum
from maskwork.training import (
    DEFAULT_RECIPE,
    RunFolder,
    TrainConfig,
    bits_per_byte,
    evaluate,
    learning_rate,
    rows_of_step,
)  # fmt: skip

#: What is no integer, though much of it passes for one in Python.
NOT_INTEGERS = (
    True, np.bool_(True), torch.tensor(True), 2.5, 4.0, np.float64(4), np.float32(4), torch.tensor(4.0), "4", b"4",
    [4], (4, 5), np.array([4, 5]), object(), 4j,
)  # fmt: skip

#: An integer in the forms that programs pass; each is 4.
FOURS = (4, np.int64(4), np.int32(4), np.uint8(4), np.array(4), torch.tensor(4), torch.tensor(4, dtype=torch.int32))


@pytest.mark.parametrize("value", FOURS, ids=repr)
def test_an_integer_becomes_an_int(value: object):
    assert is_integer(value)
    assert is_number(value)
    for number in (integer(value, "n"), at_least(value, 4, "n"), between(value, 4, 4, "n")):
        assert type(number) is int
        assert number == 4
    assert type(finite(value, "x")) is float


@pytest.mark.parametrize("value", [*NOT_INTEGERS, None], ids=lambda value: f"{type(value).__name__} {value!r:.20}")
def test_what_is_no_integer_is_refused_in_one_line(value: object):
    assert not is_integer(value)
    for guard in (integer, lambda v, n: at_least(v, 0, n), lambda v, n: between(v, 0, 9, n)):
        with pytest.raises(ArgumentError, match=r"^layers must be an integer, got .*\(\w+\); pass an int$") as caught:
            guard(value, "layers")
        assert "\n" not in str(caught.value)


@given(st.integers(), st.integers(), st.integers(0, 2**70))
def test_bounds_are_included(number: int, low: int, width: int):
    inside = low <= number <= low + width
    for guard in (
        lambda: integer(number, "n", minimum=low, maximum=low + width),
        lambda: between(number, low, low + width, "n"),
    ):
        if inside:
            assert guard() == number
        else:
            with pytest.raises(ArgumentError, match=r"^n must be "):
                guard()
    if number >= low:
        assert at_least(number, low, "n") == number
    else:
        with pytest.raises(ArgumentError, match=f"^n must be at least {low}, got"):
            at_least(number, low, "n")


def test_a_number_too_long_to_print_is_told_by_its_bits():
    for guard in (lambda: at_least(-(10**5000), 0, "n"), lambda: between(10**5000, 0, 9, "n")):
        with pytest.raises(ArgumentError, match="got an integer of 16610 bits"):
            guard()


def test_the_error_is_of_the_callers_type():
    for guard in (
        lambda: integer(0.5, "n", error=DataError),
        lambda: at_least(0, 1, "n", error=DataError),
        lambda: between(0, 1, 2, "n", error=DataError),
        lambda: finite("1", "n", error=DataError),
    ):
        with pytest.raises(DataError):
            guard()


@pytest.mark.parametrize("value", [0.5, 2, np.float32(0.5), np.float64(0.5), np.int64(2)], ids=repr)
def test_a_finite_number_becomes_a_float(value: Any):
    assert is_number(value)
    assert type(finite(value, "x")) is float
    assert finite(value, "x") == value


@pytest.mark.parametrize(
    "value", [True, np.bool_(True), "0.5", None, 1j, [0.5], np.nan, np.inf, -np.inf, np.float32("nan"), 10**400]
)
def test_what_is_no_finite_number_is_refused(value: Any):
    with pytest.raises(ArgumentError, match=r"^clip must be (a number, got .* pass a float or an int|finite, got .*)$"):
        finite(value, "clip")


# The public parameters. Each row calls a function with the parameter under test, for which 4 is a valid value.


@dataclass(frozen=True)
class Parameter:
    """An integer parameter of a public callable.

    Attributes:
        name: callable and parameter.
        call: calls it with a value, and returns what was stored of the value, if anything.
        optional: None is a valid value too.
        rows: so is a list with one integer for each batch row.
    """

    name: str
    call: Callable[[Any], object]
    optional: bool = False
    rows: bool = False


MODEL = ModelConfig(vocab_size=8, layers=1, width=8, heads=4, kv_heads=4, hidden=8, context=12)
TRAIN = TrainConfig(steps=8, batch_rows=1, learning_rate=1e-3, warmup_steps=1, eval_every=0, save_every=0)
ROWS = list(pack([[1, 2, 3, 4, 5, 6, 7, 1]], 8))
TOKENIZER = train_tokenizer([Document("a.txt", b"low lower lowest " * 9)], 260)
EXAMPLE = CausalLM().example([1, 2, 3, 4, 5, 6])
BOUND = mw.causal().bind(8)
PRECOMPUTED = mw.nn.PrecomputedMask(mw.causal(), 8)


def of_step(**changes: Any) -> object:
    return rows_of_step(**{"n_rows": 4, "rows_per_step": 4, "seed": 4, "step": 4} | changes)


def cache(**changes: Any) -> mw.cache.KVCache:
    sizes = {"layers": 5, "batch": 1, "kv_heads": 1, "capacity": 4, "head_dim": 2} | changes
    return mw.cache.KVCache(**sizes)


def chat(max_len: Any) -> object:
    return mw.objectives.Chat(ChatML(TOKENIZER.encode, start=1, end=2), max_len=max_len).max_len


def stream(**changes: Any) -> object:
    values = {"max_len": 8, "batch_rows": 1} | changes
    return mw.objectives.PackedStream([[1, 2, 3]], objective=CausalLM(), **values)


def in_a_run(call: Callable[[RunFolder], object], folder: Path) -> object:
    return call(RunFolder.create(folder / "run", {"model": {}, "train": {}, "data": {}}))


DATA = [
    Parameter("pack(max_len)", lambda n: pack([[1, 2]], n)),
    Parameter("pack(buffer)", lambda n: pack([[1, 2]], 4, buffer=n)),
    Parameter("PackedRow(lengths)", lambda n: PackedRow(np.arange(8), (4, n), 0).lengths[1]),
    Parameter("PackedRow(padding)", lambda n: PackedRow(np.arange(8), (4, 4), n).padding),
    Parameter("PackedRow.of(length)", lambda n: PackedRow.of([EXAMPLE.piece(0, 3)], n).padding),
    Parameter("Example.piece(start)", lambda n: EXAMPLE.piece(n, 5)),
    Parameter("Example.piece(stop)", lambda n: EXAMPLE.piece(0, n)),
    Parameter("Tokenizer.token_bytes", lambda n: TOKENIZER.token_bytes(n)),
    Parameter("as_tokens", lambda n: as_tokens([1, n])),
    Parameter("pack(tokens)", lambda n: list(pack([[1, n]], 8))),
    Parameter("Tokenizer.decode", lambda n: TOKENIZER.decode([n])),
]  # fmt: skip

MODELS = [
    Parameter(f"ModelConfig({name})", lambda n, name=name: getattr(replace(MODEL, **{name: n}), name))
    for name in ("vocab_size", "layers", "heads", "kv_heads", "hidden", "context")
] + [
    Parameter("ModelConfig(width)", lambda n: replace(MODEL, heads=2, kv_heads=2, width=n).width),
]

TRAINING = [
    Parameter(f"TrainConfig({name})", lambda n, name=name: getattr(replace(TRAIN, **{name: n}), name))
    for name in ("steps", "batch_rows", "accumulate", "warmup_steps", "seed", "eval_every", "save_every", "log_every")
] + [
    Parameter("Recipe.with_steps", lambda n: DEFAULT_RECIPE.with_steps(n).train.steps),
    Parameter("Recipe.with_seed", lambda n: DEFAULT_RECIPE.with_seed(n).train.seed),
    Parameter("rows_of_step(n_rows)", lambda n: of_step(n_rows=n)),
    Parameter("rows_of_step(rows_per_step)", lambda n: of_step(rows_per_step=n)),
    Parameter("rows_of_step(seed)", lambda n: of_step(seed=n)),
    Parameter("rows_of_step(step)", lambda n: of_step(step=n)),
    Parameter("learning_rate(step)", lambda n: learning_rate(n, TRAIN)),
    Parameter("evaluate(batch_rows)", lambda n: evaluate(Transformer(MODEL), ROWS, CausalLM(), n)),
    Parameter("bits_per_byte(n_bytes)", lambda n: bits_per_byte(1.0, n)),
]

DECODING = [
    Parameter("Sampling(top_k)", lambda n: Sampling(top_k=n).top_k, True),
    Parameter("Sampling(seed)", lambda n: Sampling(seed=n).seed),
    Parameter("generate(max_tokens)", lambda n: generate(Transformer(MODEL), [1], max_tokens=n)),
    Parameter("generate(prompt)", lambda n: generate(Transformer(MODEL), [n], max_tokens=1)),
    Parameter("generate(stop)", lambda n: generate(Transformer(MODEL), [1], max_tokens=1, stop=[n])),
]

CACHES = [
    Parameter("Transformer.new_cache(batch)", lambda n: Transformer(MODEL).new_cache(batch=n)),
    Parameter("Transformer.new_cache(capacity)", lambda n: Transformer(MODEL).new_cache(capacity=n), True),
    Parameter("KVCache.append(layer)", lambda n: cache().append(n, torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2))),
    Parameter("KVCache.advance(count)", lambda n: cache().advance(n)),
] + [
    Parameter(f"KVCache({name})", lambda n, name=name: cache(**{name: n}))
    for name in ("layers", "batch", "kv_heads", "capacity", "head_dim")
]

OBJECTIVES = [
    Parameter("PackedStream(max_len)", lambda n: stream(max_len=n)),
    Parameter("PackedStream(batch_rows)", lambda n: stream(batch_rows=n)),
    Parameter("PackedStream(seed)", lambda n: stream(seed=n)),
    Parameter("PackedStream(buffer)", lambda n: stream(buffer=n)),
    Parameter("PackedStream(workers)", lambda n: stream(workers=n)),
    Parameter("Chat(max_len)", chat, True),
    Parameter("Curriculum(steps)", lambda n: Curriculum(start=0.5, steps=n).steps),
    Parameter("Curriculum.share(step)", lambda n: Curriculum(start=0.5, steps=9).share(n)),
    Parameter("MaskedLM(mask_token)", lambda n: mw.objectives.MaskedLM(n, 9).mask_token),
    Parameter(
        "MaskedLM.example(word_ids)",
        lambda n: mw.objectives.MaskedLM(1, 9).example([5, 6], torch.Generator(), word_ids=[0, n]),
        True,
    ),
    Parameter("CausalLM.example(tokens)", lambda n: CausalLM().example([1, n])),
    Parameter("Denoiser.spans(length)", lambda n: mw.objectives.Denoiser(0.5).spans(n, np.random.default_rng(0))),
    Parameter("MaskedLM(vocab_size)", lambda n: mw.objectives.MaskedLM(1, n).vocab_size),
    Parameter("MaskedLM(min_targets)", lambda n: mw.objectives.MaskedLM(1, 9, min_targets=n).min_targets),
    Parameter("SequenceToSequence(decoder_start)", lambda n: mw.objectives.SequenceToSequence(n).decoder_start),
]

MASKS = [
    Parameter("bind(q_len)", lambda n: mw.causal().bind(n)),
    Parameter("bind(kv_len)", lambda n: mw.causal().bind(4, n, q_start=0), True),
    Parameter("bind(q_start)", lambda n: mw.causal().bind(4, 8, q_start=n), rows=True),
    Parameter("bind(batch)", lambda n: mw.causal().bind(4, batch=n), True),
    Parameter("bind(heads)", lambda n: mw.causal().bind(4, heads=n), True),
    Parameter("band(left)", lambda n: mw.band(n, 0), True, rows=True),
    Parameter("sinks", lambda n: mw.sinks(n)),
    Parameter("chunked", lambda n: mw.chunked(n)),
    Parameter("dilated(hops)", lambda n: mw.dilated(n, 2)),
    Parameter("shift(q)", lambda n: mw.causal().shift(q=n), rows=True),
    Parameter("count(q1)", lambda n: BOUND.count(0, n, 0, 8)),
    Parameter("rows(q1)", lambda n: BOUND.rows(0, n), rows=True),
    Parameter("sliding_window(size per head)", lambda n: mw.sliding_window([4, n])),
    Parameter("document(lengths)", lambda n: mw.document([3, n])),
    Parameter("document(lengths per row)", lambda n: mw.document([[3, n], [3, n]])),
    Parameter("svg(size)", lambda n: BOUND.svg(size=n)),
    Parameter("explain(q)", lambda n: BOUND.explain(n, 2)),
    Parameter("reach(layers)", lambda n: BOUND.reach(n)),
    Parameter("blocks(kv)", lambda n: BOUND.blocks((4, n)).block_size[1]),
    Parameter("Grid(q_start)", lambda n: mw.Grid(n, 4, 8).q_start, rows=True),
    Parameter("Grid(q_len)", lambda n: mw.Grid(0, n, 8).q_len),
    Parameter("Grid(kv_len)", lambda n: mw.Grid(0, 4, n).kv_len),
    Parameter("Grid(batch)", lambda n: mw.Grid(0, 4, 8, batch=n).batch),
    Parameter("Grid(heads)", lambda n: mw.Grid(0, 4, 8, heads=n).heads),
    Parameter("Grid.queries(i)", lambda n: BOUND.grid.queries(n)),
    Parameter("Grid.queries(j)", lambda n: BOUND.grid.queries(0, n), True),
    Parameter("Spans.row(q)", lambda n: BOUND.spans.row(n)),
    Parameter("Spans.row(b)", lambda n: BOUND.spans.expand((5, 1, 8)).row(0, b=n)),
    Parameter("Spans.plane(h)", lambda n: BOUND.spans.plane(h=n)),
    Parameter("Spans.rows(i)", lambda n: BOUND.spans.rows(n, 8)),
    Parameter("Spans.rows(j)", lambda n: BOUND.spans.rows(0, n)),
    Parameter("Spans.expand(B)", lambda n: BOUND.spans.expand((n, 1, 8))),
    Parameter("recipes.bigbird(block_size)", lambda n: mw.recipes.bigbird(n, 4)),
    Parameter("recipes.block_diffusion(length)", lambda n: mw.recipes.block_diffusion(n, 2)),
]

ATTENTION = [
    Parameter("alibi", mw.alibi),
    Parameter("PositionBias.dense(q_start)", lambda n: mw.alibi(2).dense(n, 2, 3).tolist(), rows=True),
    Parameter("PositionBias.dense(q_len)", lambda n: mw.alibi(2).dense(0, n, 3).tolist()),
    Parameter("PositionBias.dense(kv_len)", lambda n: mw.alibi(2).dense(0, 2, n).tolist()),
    Parameter("PositionBias.by_distance(q_len)", lambda n: mw.alibi(2).by_distance(0, n, 3).tolist()),
    Parameter("to_block_mask(block_size)", lambda n: mw.lower.to_block_mask(BOUND, n), rows=True),
    Parameter("nn.Attention(width)", lambda n: mw.nn.Attention(n, 1)),
    Parameter("nn.Attention(context_width)", lambda n: mw.nn.Attention(4, 1, context_width=n), True),
    Parameter("nn.SwiGLU(hidden)", lambda n: mw.nn.SwiGLU(4, n)),
    Parameter("nn.Rotary(head_dim)", lambda n: mw.nn.Rotary(n, 4)),
    Parameter("nn.rotary_table(context)", lambda n: mw.nn.rotary_table(4, n)),
    Parameter("nn.PrecomputedMask(max_len)", lambda n: mw.nn.PrecomputedMask(mw.causal(), n).max_len),
    Parameter("nn.PrecomputedMask.forward(q_len)", lambda n: PRECOMPUTED(n, 8, q_start=0)),
    Parameter("nn.PrecomputedMask.forward(kv_len)", lambda n: PRECOMPUTED(4, n, q_start=0)),
    Parameter("nn.PrecomputedMask.forward(q_start)", lambda n: PRECOMPUTED(4, 8, q_start=n), rows=True),
]


#: Callables whose numbers become sides of arrays.
BOUNDED = {
    "KVCache", "KVCache.append", "blocks", "Spans.row", "Spans.expand", "recipes.bigbird", "alibi",
    "recipes.block_diffusion", "PositionBias.dense", "PositionBias.by_distance", "to_block_mask", "nn.Attention",
    "nn.SwiGLU", "nn.Rotary", "nn.rotary_table", "nn.PrecomputedMask", "nn.PrecomputedMask.forward",
}  # fmt: skip


def table(parameters: list[Parameter]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("parameter", parameters, ids=lambda parameter: parameter.name)


def check(parameter: Parameter) -> None:
    """Assert that each form of 4 is accepted and stored as an int, and that no other type is accepted."""
    for value in FOURS:
        stored = parameter.call(value)
        assert not isinstance(stored, np.generic | torch.Tensor), f"{stored!r} was stored, which is no int"
        assert not (isinstance(stored, np.ndarray) and stored.ndim == 0)
    wrong = NOT_INTEGERS if parameter.optional else (*NOT_INTEGERS, None)
    if parameter.rows:
        wrong = tuple(value for value in wrong if not isinstance(value, list | tuple | np.ndarray))
    for value in wrong:
        with pytest.raises(MaskworkError) as caught:
            parameter.call(value)
        assert "\n" not in str(caught.value)


@table(DATA + MODELS + TRAINING + DECODING)
def test_parameters_of_data_models_training_and_decoding(parameter: Parameter):
    check(parameter)


@table(CACHES)
def test_parameters_of_caches(parameter: Parameter):
    check(parameter)


@table(OBJECTIVES)
def test_parameters_of_objectives(parameter: Parameter):
    check(parameter)


@table(MASKS)
def test_parameters_of_masks(parameter: Parameter):
    check(parameter)


@table(ATTENTION)
def test_parameters_of_attention_and_modules(parameter: Parameter):
    check(parameter)


@table([parameter for parameter in CACHES + MASKS + ATTENTION if parameter.name.split("(")[0] in BOUNDED])
def test_a_size_that_no_tensor_can_have_is_refused_before_torch_sees_it(parameter: Parameter):
    for size in (2**62, 2**63, 10**30, 10**5000):
        with pytest.raises(MaskworkError) as caught:
            parameter.call(size)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [*NOT_INTEGERS, None], ids=lambda value: f"{type(value).__name__} {value!r:.20}")
def test_parameters_that_write_or_train_refuse_it_too(value: Any, tmp_path: Path):
    for call in (
        lambda: train_tokenizer([Document("a.txt", b"a")], value),
        lambda: in_a_run(lambda run: run.log({"step": value}), tmp_path / "log"),
        lambda: in_a_run(lambda run: run.truncate_metrics(value), tmp_path / "truncate"),
    ):
        with pytest.raises(ArgumentError, match="must be an integer, got"):
            call()


def test_parameters_that_write_or_train_accept_numpys_integers(tmp_path: Path):
    assert train_tokenizer([Document("a.txt", b"a")], np.int32(257)).vocab_size == 257

    def log(run: RunFolder) -> list[dict[str, Any]]:
        run.log({"step": np.int64(3)})
        run.log({"step": torch.tensor(5)})
        run.truncate_metrics(np.int16(4))
        return run.metrics()

    assert in_a_run(log, tmp_path) == [{"step": 3}]

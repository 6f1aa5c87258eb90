"""Our masks against Hugging Face's: each function and each factory of its `masking_utils`, and its models' own."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import masking_utils as hf

import maskwork as mw
from helpers.against import DOCUMENTS, ISLANDS, N, assert_same_cells

BATCH = 2
LENGTHS = [5, 9, 3, 7]
POSITIONS = torch.cat([torch.arange(n) for n in LENGTHS])[None]
STARTS = [4, 11]
LEFT_PADDED = torch.arange(N) >= torch.tensor(STARTS)[:, None]
RIGHT_PADDED = torch.arange(N) < torch.tensor([[20], [13]])

# each mask of ours beside the function that says the same there
FUNCTIONS = {
    "causal": (mw.causal(), hf.causal_mask_function),
    "bidirectional": (mw.full(), hf.bidirectional_mask_function),
    "sliding_window": (mw.recipes.mistral(5), hf.sliding_window_causal_mask_function(5)),
    "sliding_window_overlay": (mw.band(4, None), hf.sliding_window_overlay(5)),
    # the bidirectional window is inclusive: 5 keys on either side of the query's own
    "two_sided": (mw.band(5, 5), hf.sliding_window_bidirectional_mask_function(5)),
    "two_sided_overlay": (mw.band(5, 5), hf.sliding_window_bidirectional_overlay(5)),
    "chunked": (mw.recipes.chunked_local(5), hf.chunked_causal_mask_function(5, torch.tensor([0]))),
    "chunked_overlay": (mw.chunked(5), hf.chunked_overlay(5, torch.tensor([0]))),
    # there chunks are counted from the first real token: what is padding belongs to no chunk of ours
    "chunked_after_padding": (
        mw.recipes.chunked_local(5).shift(q=4, k=4),
        hf.and_masks(hf.chunked_causal_mask_function(5, torch.tensor([4])), lambda b, h, q, k: (q >= 4) & (k >= 4)),
    ),
    "real": (
        mw.causal() & mw.real(torch.arange(N)[None] % 5 > 0),
        hf.and_masks(hf.causal_mask_function, hf.padding_mask_function(torch.arange(N)[None] % 5 > 0)),
    ),
    "right_padding": (mw.padding([20, 13]), hf.padding_mask_function(RIGHT_PADDED)),
    "left_padding": (mw.padding(starts=STARTS), hf.padding_mask_function(LEFT_PADDED)),
    "packed": (mw.document(LENGTHS), hf.packed_sequence_mask_function(DOCUMENTS[None])),
    "packed_positions": (
        mw.document(LENGTHS), hf.packed_sequence_mask_function(hf.find_packed_sequence_indices(POSITIONS)),
    ),
    "blockwise": (mw.recipes.multimodal(ISLANDS), hf.or_masks(hf.causal_mask_function, hf.blockwise_overlay(ISLANDS))),
    "blockwise_overlay": (mw.document(ids=ISLANDS), hf.blockwise_overlay(ISLANDS)),
    "restarted": (
        mw.within(mw.recipes.streaming_llm(3, 1), LENGTHS),
        hf.packed_sequence_compatibility_function(
            hf.or_masks(
                hf.sliding_window_causal_mask_function(3),
                hf.and_masks(hf.causal_mask_function, lambda b, h, q, k: k < 1),
            ),
            POSITIONS,
            DOCUMENTS[None],
        ),
    ),
    "remapped": (
        mw.within(mw.prefix(2), LENGTHS) & mw.document(LENGTHS),
        hf.and_masks(
            hf.packed_sequence_mask_function(DOCUMENTS[None]),
            hf.remap_positions_for_packed_sequence(lambda b, h, q, k: k < 2, POSITIONS),
        ),
    ),
    "offsets": (
        mw.recipes.mistral(5).shift(q=-3, k=-2),
        hf.add_offsets_to_mask_function(hf.sliding_window_causal_mask_function(5), 3, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("q_start", "q_len"), [(0, N), (17, 7)])
def test_mask_functions(name: str, q_start: int, q_len: int):
    mask, mask_function = FUNCTIONS[name]
    assert_same_cells(mask, mask_function, q_len, N, q_start)


# what a model defines for itself: module, function, arguments, and ours
MODELS = {
    "gemma3": ("gemma3", "_bidirectional_window_overlay", (5,), mw.band(4, 4)),
    "gemma4": ("gemma4", "sliding_window_mask_function", ((5, 3),), mw.band(4, 2)),
    "moonshine_streaming": ("moonshine_streaming", "sliding_window_mask_function", ((5, 1),), mw.band(4, 0)),
    "nemotron": (
        "nemotron_asr_streaming", "chunked_limited_mask_function", (8, 3),
        # its own chunk of 4 and the two before it
        mw.chunked(4) | mw.chunked(4).shift(k=-4) | mw.chunked(4).shift(k=-8),
    ),
    "step3p7": ("step3p7", "_bidirectional_window_overlay", (5,), mw.band(4, 4)),
    "t5gemma2": ("t5gemma2", "sliding_window_mask_function", (5, False), mw.band(2, 2)),
    "t5gemma2_even": ("t5gemma2", "sliding_window_mask_function", (6, False), mw.band(2, 3)),
    "t5gemma2_decoder": ("t5gemma2", "sliding_window_mask_function", (5, True), mw.recipes.mistral(5)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_functions_of_models(name: str):
    model, function, arguments, mask = MODELS[name]
    module = import_module(f"transformers.models.{model}.modeling_{model}")
    assert_same_cells(mask, getattr(module, function)(*arguments))


CHUNKED_LEFT = mw.per_row([mw.recipes.chunked_local(5).shift(q=n, k=n) for n in STARTS]) & mw.padding(starts=STARTS)

# factory, what it is told, and ours
FACTORIES = {
    "causal": ("causal_mask", {}, mw.causal()),
    "causal, left padding": ("causal_mask", {"attention_mask": LEFT_PADDED}, mw.causal() & mw.padding(starts=STARTS)),
    "causal, packed": ("causal_mask", {"position_ids": POSITIONS}, mw.recipes.packed(LENGTHS)),
    "causal or islands": (
        "causal_mask", {"or_mask_function": hf.blockwise_overlay(ISLANDS)}, mw.recipes.multimodal(ISLANDS),
    ),
    "causal and real": (
        "causal_mask", {"and_mask_function": hf.padding_mask_function(RIGHT_PADDED)},
        mw.causal() & mw.padding([20, 13]),
    ),
    "causal, blocks, right padding": (
        "causal_mask", {"block_sequence_ids": ISLANDS, "attention_mask": RIGHT_PADDED},
        mw.recipes.multimodal(ISLANDS) & mw.padding([20, 13]),
    ),
    "window": ("sliding_window_causal_mask", {}, mw.recipes.mistral(5)),
    "window, packed": (
        "sliding_window_causal_mask", {"position_ids": POSITIONS}, mw.within(mw.recipes.mistral(5), LENGTHS),
    ),
    "window, blocks": (
        "sliding_window_causal_mask", {"block_sequence_ids": ISLANDS},
        mw.recipes.mistral(5) | mw.document(ids=ISLANDS),
    ),
    "chunked, left padding": ("chunked_causal_mask", {"attention_mask": LEFT_PADDED}, CHUNKED_LEFT),
    "chunked, packed": (
        "chunked_causal_mask", {"position_ids": POSITIONS}, mw.within(mw.recipes.chunked_local(5), LENGTHS),
    ),
    "both ways, right padding": ("bidirectional_mask", {"attention_mask": RIGHT_PADDED}, mw.padding([20, 13])),
    "both ways, window, left padding": (
        "bidirectional_sliding_window_mask", {"attention_mask": LEFT_PADDED},
        mw.band(5, 5) & mw.padding(starts=STARTS),
    ),
}  # fmt: skip


# transformers looks for packed rows only where there is no cache
@pytest.mark.parametrize(
    ("name", "cached"), [(name, n) for name in FACTORIES for n in (0, 17) if not n or "packed" not in name]
)
def test_mask_factories(name: str, cached: int):
    """What a model calls, with nothing in the cache and with the first 17 tokens there."""
    factory, options, mask = FACTORIES[name]
    cache = transformers.DynamicCache()
    if cached:
        cache.update(*[torch.zeros(BATCH, 1, cached, 1)] * 2, 0)
    config = transformers.LlamaConfig(attn_implementation="sdpa")
    config.sliding_window = config.attention_chunk_size = 5
    skip = "allow_is_bidirectional_skip" if "bidirectional" in factory else "allow_is_causal_skip"
    made = getattr(hf, f"create_{factory}")(
        **{"config": config, "inputs_embeds": torch.zeros(BATCH, N - cached, 1), "attention_mask": None,
           "past_key_values": cache if cached else None, skip: False, **options}
    )  # fmt: skip
    ours = mask.bind(N - cached, N, q_start=cached, batch=BATCH).dense()
    assert np.array_equal(np.broadcast_to(ours, made.shape), made.numpy())


def test_every_function_and_factory_is_compared():
    """A new one in a later transformers shows up here."""
    names = {name for name in vars(hf) if name.endswith(("_overlay", "_mask_function")) or name.startswith("create_")}
    names |= {"packed_sequence_compatibility_function", "remap_positions_for_packed_sequence"}
    source = Path(__file__).read_text(encoding="utf-8")
    # a padding mask for recurrent layers, not one of attention; and a choice among the factories by layer
    others = {"create_recurrent_attention_mask", "create_masks_for_generate", "create_block_mask"}
    assert [name for name in sorted(names - others) if name.removeprefix("create_") not in source] == []

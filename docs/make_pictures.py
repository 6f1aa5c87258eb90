"""The pictures of docs/guides/masks.md, drawn by the masks themselves: `python docs/make_pictures.py` rewrites them."""

from pathlib import Path

import maskwork as mw

FOLDER = Path(__file__).parent / "pictures"

#: file name -> the mask on its grid. tests/test_guides.py checks that the files are what the code draws today.
PICTURES: dict[str, mw.BoundMask] = {
    "full": mw.full().bind(24),
    "empty": mw.empty().bind(24),
    "causal": mw.causal().bind(24),
    "sliding_window": mw.sliding_window(6).bind(24),
    "band": mw.band(4, 2).bind(24),
    "chunked": mw.chunked(6).bind(24),
    "block_causal": mw.block_causal([4, 8, 3, 9]).bind(24),
    "real": mw.real([1] * 5 + [0] * 3 + [1] * 10 + [0] * 6).bind(24),
    "match": mw.match([-1] * 4 + [0] * 8 + [1] * 12, [0] * 5 + [1] * 7).bind(24, 12, q_start=0),
    "sinks": mw.sinks(3).bind(24),
    "prefix": mw.prefix(8).bind(24),
    "padding": mw.padding(18).bind(24),
    "padding_starts": mw.padding(starts=6).bind(24),
    "document": mw.document([7, 12, 5]).bind(24),
    "document_ids": mw.document(ids=[0, 0, 1, 1, 0, 0, 2, 2, -1, 1, 1, 0, 0, 2, 2, 2, 0, 1, 1, 1, -1, -1, 2, 2]).bind(
        24
    ),
    "within": mw.within(mw.causal() | mw.prefix(3), [7, 12, 5]).bind(24),
    "global_tokens": mw.global_tokens([0, 9]).bind(24),
    "dilated": mw.dilated(3, 3).bind(24),
    "random_blocks": mw.random_blocks(2, 3, 8, seed=1).bind(24),
    "tree": mw.tree([-1, *range(7), 7, 7, 8, 8, 9, 10, 10, 11, 12, 13, 13, 14, 15, 16, 17, 18]).bind(24),
    "neighborhood": mw.neighborhood((4, 6), 3).bind(24),
    "custom": mw.custom(lambda b, h, q, k: (q ^ k) % 5 == 0, name="xor5").bind(24),
    "from_dense": mw.from_dense([[(q * k) % 3 == 0 for k in range(24)] for q in range(24)]).bind(24),
    "neighborhood_tiled": mw.neighborhood((4, 6), 3, tile=(2, 2)).bind(24),
    "and": (mw.causal() & mw.document([7, 12, 5])).bind(24),
    "or": (mw.sliding_window(6) | mw.sinks(3)).bind(24),
    "not": (~mw.sliding_window(6)).bind(24),
    "minus": (mw.causal() - mw.sliding_window(6)).bind(24),
    "recipe_gpt": mw.recipes.gpt().bind(24),
    "recipe_mistral": mw.recipes.mistral(6).bind(24),
    "recipe_streaming_llm": mw.recipes.streaming_llm(6, 2).bind(24),
    "recipe_prefix_lm": mw.recipes.prefix_lm(8).bind(24),
    "recipe_packed": mw.recipes.packed([7, 12, 5]).bind(24),
    "recipe_shared_prefix": mw.recipes.shared_prefix(8, [6, 4, 6]).bind(24),
    "recipe_multimodal": mw.recipes.multimodal([-1] * 4 + [0] * 6 + [-1] * 5 + [1] * 5 + [-1] * 4).bind(24),
    "recipe_next_scale": mw.recipes.next_scale([1, 4, 9, 10]).bind(24),
    "recipe_longformer": mw.recipes.longformer(6, [0, 12]).bind(24),
    "recipe_chunked_local": mw.recipes.chunked_local(6).bind(24),
    "recipe_block_diffusion": mw.recipes.block_diffusion(12, 4).bind(24),
    "recipe_flamingo": mw.recipes.flamingo([-1] * 4 + [0] * 10 + [1] * 10, [0] * 8 + [1] * 8).bind(24, 16, q_start=0),
    "recipe_bigbird": mw.recipes.bigbird(3, 8, random=1, seed=3).bind(24),
    "recipe_sliding_tile": mw.recipes.sliding_tile((4, 6), (2, 6), (2, 2)).bind(24),
    "xor": (mw.causal() ^ mw.chunked(6)).bind(24),
    "shift": mw.causal().shift(q=0, k=6).bind(24),
    "per_head": mw.per_head([mw.causal(), mw.causal() & mw.chunked(6)]).bind(24),
    "per_head_1": mw.per_head([mw.causal(), mw.causal() & mw.chunked(6)]).bind(24),
    "per_row": mw.per_row([mw.causal(), mw.full()]).bind(24),
    "per_row_1": mw.per_row([mw.causal(), mw.full()]).bind(24),
    "million": mw.within(mw.causal() & (mw.sliding_window(100_000) | mw.sinks(4)), [300_000, 748_576]).bind(2**20),
}


def draw(name: str) -> str:
    """One picture: small and bare for the atoms, with its labels for the long one. `_1`: of the second head or row."""
    if name == "million":
        return PICTURES[name].svg()
    second = int(name.endswith("_1"))
    rows, heads, _, _ = PICTURES[name].shape
    return PICTURES[name].svg(b=second if rows > 1 else 0, h=second if heads > 1 else 0, size=120, labels=False)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.svg"):
        stale.unlink()
    for name in PICTURES:
        (FOLDER / f"{name}.svg").write_text(draw(name), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

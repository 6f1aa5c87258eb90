"""Draw the pictures of docs/guides/masks.md from their masks: `python docs/make_pictures.py` rewrites the files."""

from pathlib import Path

import maskwork as mw

FOLDER = Path(__file__).parent / "pictures"

_IDS = [0, 0, 1, 1, 0, 0, 2, 2, -1, 1, 1, 0, 0, 2, 2, 2, 0, 1, 1, 1, -1, -1, 2, 2]

#: folder/file name -> the bound mask. tests/test_guides.py checks that the files equal what the code draws today.
PICTURES: dict[str, mw.BoundMask] = {
    "atoms/full": mw.full().bind(24),
    "atoms/empty": mw.empty().bind(24),
    "atoms/causal": mw.causal().bind(24),
    "atoms/sliding_window": mw.sliding_window(6).bind(24),
    "atoms/band": mw.band(4, 2).bind(24),
    "sparse/chunked": mw.chunked(6).bind(24),
    "sparse/chunked_left": mw.chunked(4, left=1).bind(24),
    "sparse/block_causal": mw.block_causal([4, 8, 3, 9]).bind(24),
    "atoms/real": mw.real([1] * 5 + [0] * 3 + [1] * 10 + [0] * 6).bind(24),
    "atoms/real_queries": mw.real_queries([1] * 5 + [0] * 3 + [1] * 10 + [0] * 6).bind(24),
    "atoms/match": mw.match([-1] * 4 + [0] * 8 + [1] * 12, [0] * 5 + [1] * 7).bind(24, 12, q_start=0),
    "atoms/sinks": mw.sinks(3).bind(24),
    "atoms/prefix": mw.prefix(8).bind(24),
    "atoms/padding": mw.padding(18).bind(24),
    "atoms/padding_starts": mw.padding(starts=6).bind(24),
    "atoms/document": mw.document([7, 12, 5]).bind(24),
    "atoms/document_ids": mw.document(ids=_IDS).bind(24),
    "atoms/document_positions": mw.document(position_ids=[*range(7), *range(12), *range(5)]).bind(24),
    "atoms/within": mw.within(mw.causal() | mw.prefix(3), [7, 12, 5]).bind(24),
    "atoms/global_tokens": mw.global_tokens([0, 9]).bind(24),
    "sparse/dilated": mw.dilated(3, 3).bind(24),
    "sparse/random_blocks": mw.random_blocks(2, 3, 8, seed=1).bind(24),
    "sparse/tree": mw.tree([-1, *range(7), 7, 7, 8, 8, 9, 10, 10, 11, 12, 13, 13, 14, 15, 16, 17, 18]).bind(24),
    "sparse/edges": mw.edges(
        [*range(24)] * 3, [*range(24), *(i // 2 for i in range(24)), *((7 * i) % 24 for i in range(24))]
    ).bind(24),
    "sparse/blocks": mw.blocks([[(i * i + j) % 3 == 0 or i == j for j in range(8)] for i in range(8)], 3).bind(24),
    "sparse/neighborhood": mw.neighborhood((4, 6), 3).bind(24),
    "atoms/custom": mw.custom(lambda b, h, q, k: (q ^ k) % 5 == 0, name="xor5").bind(24),
    "atoms/from_dense": mw.from_dense([[(q * k) % 3 == 0 for k in range(24)] for q in range(24)]).bind(24),
    "sparse/neighborhood_tiled": mw.neighborhood((4, 6), 3, tile=(2, 2)).bind(24),
    "sparse/packed": mw.packed(mw.causal(), [4, 9, 3], [7, 12, 5]).bind(16, 24, q_start=0),
    "sparse/from_spans": mw.from_spans(
        [[q // 3, 20 - q] for q in range(24)], [[q, 24 - q // 2] for q in range(24)]
    ).bind(24),
    "sparse/from_key_bounds": mw.from_key_bounds([7] * 7 + [19] * 12 + [24] * 5, [16] * 7 + [22] * 12 + [24] * 5).bind(
        24
    ),
    "sparse/rectangles": mw.rectangles(
        [[0, 8], [8, 16], [16, 24], [2, 14]], [[0, 8], [0, 12], [8, 20], [16, 24]], [1, 0, 2, 3]
    ).bind(24),
    "sparse/neighborhood_stride": mw.neighborhood((4, 6), 3, stride=(1, 3)).bind(24),
    "operators/and": (mw.causal() & mw.document([7, 12, 5])).bind(24),
    "operators/or": (mw.sliding_window(6) | mw.sinks(3)).bind(24),
    "operators/not": (~mw.sliding_window(6)).bind(24),
    "operators/minus": (mw.causal() - mw.sliding_window(6)).bind(24),
    "recipes/gpt": mw.recipes.gpt().bind(24),
    "recipes/mistral": mw.recipes.mistral(6).bind(24),
    "recipes/streaming_llm": mw.recipes.streaming_llm(6, 2).bind(24),
    "recipes/prefix_lm": mw.recipes.prefix_lm(8).bind(24),
    "recipes/packed": mw.recipes.packed([7, 12, 5]).bind(24),
    "recipes/shared_prefix": mw.recipes.shared_prefix(8, [6, 4, 6]).bind(24),
    "recipes/multimodal": mw.recipes.multimodal([-1] * 4 + [0] * 6 + [-1] * 5 + [1] * 5 + [-1] * 4).bind(24),
    "recipes/next_scale": mw.recipes.next_scale([1, 4, 9, 10]).bind(24),
    "recipes/longformer": mw.recipes.longformer(6, [0, 12]).bind(24),
    "recipes/chunked_local": mw.recipes.chunked_local(6).bind(24),
    "recipes/streaming": mw.recipes.streaming(4, 2).bind(24),
    "recipes/gist": mw.recipes.gist(8, 3).bind(24),
    "recipes/time_window": mw.recipes.time_window(sorted((i * i) % 40 for i in range(24)), 5).bind(24),
    "recipes/block_diffusion": mw.recipes.block_diffusion(12, 4).bind(24),
    "recipes/flamingo": mw.recipes.flamingo([-1] * 4 + [0] * 10 + [1] * 10, [0] * 8 + [1] * 8).bind(24, 16, q_start=0),
    "recipes/bigbird": mw.recipes.bigbird(3, 8, random=1, seed=3).bind(24),
    "recipes/sliding_tile": mw.recipes.sliding_tile((4, 6), (2, 6), (2, 2)).bind(24),
    "operators/xor": (mw.causal() ^ mw.chunked(6)).bind(24),
    "operators/shift": mw.causal().shift(q=0, k=6).bind(24),
    "operators/per_head": mw.per_head([mw.causal(), mw.causal() & mw.chunked(6)]).bind(24),
    "operators/per_head_1": mw.per_head([mw.causal(), mw.causal() & mw.chunked(6)]).bind(24),
    "operators/per_row": mw.per_row([mw.causal(), mw.full()]).bind(24),
    "operators/per_row_1": mw.per_row([mw.causal(), mw.full()]).bind(24),
    "million": mw.within(mw.causal() & (mw.sliding_window(100_000) | mw.sinks(4)), [300_000, 748_576]).bind(2**20),
}


def draw(name: str) -> str:
    """Draw one picture: small and without labels, but `million` with labels. `_1`: the second head or batch row."""
    if name == "million":
        return PICTURES[name].svg()
    second = int(name.endswith("_1"))
    rows, heads, _, _ = PICTURES[name].shape
    return PICTURES[name].svg(b=second if rows > 1 else 0, h=second if heads > 1 else 0, size=120, labels=False)


def main() -> None:
    for stale in FOLDER.rglob("*.svg"):
        stale.unlink()
    for name in PICTURES:
        path = FOLDER / f"{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(draw(name), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

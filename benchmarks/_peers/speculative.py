"""Trees of drafts in speculative decoding: Medusa, EAGLE, vLLM and SGLang, by their papers, written here as formulas.

A node of the tree sees the prompt and the nodes on its path. Medusa names a node by its path from the root, the others
by its parent.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from .flash_attention import block_diagonal
from .table import Array, Case, Peer

PEER = Peer("Medusa, EAGLE, vLLM, SGLang: trees of drafts", "the definitions of their papers")

TREES = ([-1], [-1, 0, 1, 2], [-1, 0, 0, 1, 1, 2, 3], [-1, 0, 0, 0, 1, 1, 2, 4, 4, 7], [-1, -1, 0, 1, 1])


def ancestors(parents: list[int]) -> Array:
    """Return which node is an ancestor of which, or the node itself: `(nodes, nodes)`."""
    cells = np.eye(len(parents), dtype=bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            cells[node] |= cells[parent]
    return cells


def random_tree(seed: int, nodes: int) -> list[int]:
    """Return the parents of a random tree whose nodes come after their parents."""
    random = np.random.default_rng(seed)
    return [-1] + [int(random.integers(0, node)) for node in range(1, nodes)]


@PEER.row("`medusa_choices` (paths from the root)", "tree(parents).bind(len(parents))", note="a path's parent is the "
          "path without its last number")  # fmt: skip
def medusa() -> Iterator[Case]:
    paths = [(), (0,), (1,), (2,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (0, 0, 1)]
    for n in range(1, len(paths) + 1):
        index = {path: i for i, path in enumerate(paths[:n])}
        # A node sees the nodes whose path begins its own.
        cells = np.array([[path[: len(other)] == other for other in index] for path in index])
        parents = [index[path[:-1]] if path else -1 for path in index]
        yield {"theirs": cells, "parents": parents}


@PEER.row(
    "EAGLE's `tree_mask`, SGLang's `custom_mask`: drafts after a prompt",
    "tree([*range(-1, prompt - 1), *(prompt - 1 if p < 0 else prompt + p for p in parents)])"
    ".bind(len(parents), prompt + len(parents), q_start=prompt)",
    note="the prompt is a chain of nodes",
)
def drafts() -> Iterator[Case]:
    trees = [*TREES, *(random_tree(seed, 12) for seed in range(8))]
    for parents, prompt in product(trees, (1, 4, 9)):
        cells = np.concatenate([np.ones((len(parents), prompt), dtype=bool), ancestors(parents)], axis=1)
        yield {"theirs": cells, "parents": parents, "prompt": prompt}


@PEER.row(
    "drafts of several requests, packed",
    "(tree(parents) & document(ids=ids)).bind(len(parents))",
    note="`parents` count from the first node of all requests",
)
def packed_drafts() -> Iterator[Case]:
    for seed in range(12):
        trees = [random_tree(10 * seed + i, n) for i, n in enumerate((4, 1, 6))]
        parents, ids = [], []
        cells = np.zeros((11, 11), dtype=bool)
        for request, own in enumerate(trees):
            first = len(parents)
            cells[first : first + len(own), first : first + len(own)] = ancestors(own)
            parents += [-1 if p < 0 else first + p for p in own]
            ids += [request] * len(own)
        yield {"theirs": cells, "parents": parents, "ids": ids}


@PEER.row(
    "a prompt and its drafts in one row",
    "(causal() & (prefix(prompt) | tree(parents))).bind(len(parents))",
    note="`parents`: -1 in the prompt and for the first drafts",
)
def prompt_and_tree() -> Iterator[Case]:
    for seed, prompt in product(range(8), (1, 3, 5)):
        drafts = random_tree(seed, 6)
        parents = [*([-1] * prompt), *(-1 if p < 0 else prompt + p for p in drafts)]
        yield {"theirs": request(drafts, prompt), "parents": parents, "prompt": prompt}


@PEER.row(
    "the same for several requests in one row",
    "(causal() & (match(ids, prompts) | tree(parents))).bind(len(parents))",
    note="`ids`: the request of each token; `prompts`: the same, -1 for the drafts",
)
def prompts_and_trees() -> Iterator[Case]:
    for seed in range(12):
        parents, ids, prompts, blocks = [], [], [], []
        for number, (prompt, nodes) in enumerate(((3, 4), (1, 6), (5, 1))):
            drafts, first = random_tree(10 * seed + number, nodes), len(parents) + prompt
            parents += [*([-1] * prompt), *(-1 if p < 0 else first + p for p in drafts)]
            ids += [number] * (prompt + nodes)
            prompts += [*([number] * prompt), *([-1] * nodes)]
            blocks.append(request(drafts, prompt))
        yield {"theirs": block_diagonal(blocks), "parents": parents, "ids": ids, "prompts": prompts}


def request(drafts: list[int], prompt: int) -> Array:
    """Return the cells of a causal prompt and of the drafts that follow: each sees the prompt and its own path."""
    n = prompt + len(drafts)
    cells = np.tri(n, dtype=bool)
    cells[prompt:, prompt:] = ancestors(drafts)
    return cells

"""Behaviours: whether the file that defines a behaviour bears its name."""

from __future__ import annotations

import ast
from typing import NamedTuple

from .checkout import Checkout
from .figure import Figure


class Behaviour(NamedTuple):
    """A behaviour of the package and the file names that fit it.

    Attributes:
        symbols: names of functions and classes; each definition of one of them is judged.
        words: the file's name holds one of them.
        folder: the definition lies below a folder of this name; empty: anywhere.
    """

    name: str
    symbols: tuple[str, ...]
    words: tuple[str, ...]
    folder: str = ""


BEHAVIOURS = (
    Behaviour("tree", ("tree",), ("tree",), "masks"),
    Behaviour("real", ("real",), ("real",), "masks"),
    Behaviour("from_cu_seqlens", ("from_cu_seqlens",), ("cu_seqlens", "interop"), "masks"),
    Behaviour("padding", ("padding",), ("padding",), "masks"),
    Behaviour("ALiBi", ("alibi",), ("alibi",)),
    Behaviour("RoPE", ("rotate",), ("rope", "rotary")),
    Behaviour("select", ("select",), ("select",), "masks"),
    Behaviour("grammar", ("parse",), ("grammar", "parse"), "masks"),
    Behaviour("JSON", ("read_json",), ("json",), "masks"),
    Behaviour("flex", ("_flex", "Flex", "_Flex", "FlexAttention"), ("flex",), "kernels"),
    Behaviour("sampling", ("sample",), ("sampling",), "decoding"),
    Behaviour("schedule", ("learning_rate",), ("schedule",), "training"),
    Behaviour("auto's choice", ("choose",), ("plan", "auto", "choose"), "kernels"),
    Behaviour("cross-entropy", ("masked_cross_entropy",), ("cross_entropy",)),
)


def measure(checkout: Checkout, behaviours: tuple[Behaviour, ...] = BEHAVIOURS) -> Figure:
    """Count the behaviours whose every definition lies in a file of a fitting name."""
    places = {behaviour.name: places_of(checkout, behaviour) for behaviour in behaviours}
    astray = tuple(
        f"{place or 'nowhere'}: {b.name} belongs in a file named {' or '.join(b.words)}"
        for b in behaviours
        for place in places[b.name] or [""]
        if not any(word in place.rpartition("/")[2] for word in b.words)
    )
    at_home = len(behaviours) - len({line.partition(": ")[2] for line in astray})
    title = "behaviours that lie where their name says"
    return Figure("behaviours", title, f"{at_home} of {len(behaviours)}", f"{len(behaviours)}", not astray, astray)


def places_of(checkout: Checkout, behaviour: Behaviour) -> list[str]:
    """Return `file:line` of the functions and classes at a module's top that define a behaviour."""
    return [
        f"{source.path}:{node.lineno}"
        for source in checkout.sources
        if not behaviour.folder or behaviour.folder in source.path.parts
        for node in source.tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in behaviour.symbols
    ]

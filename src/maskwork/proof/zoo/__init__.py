"""Models that the audit is tested on: planted faults (mutants), honest models, and the parts both are built from."""

from ._faults import FAULTS, plant
from ._honest import LENGTH, Honest, honest_models, hugging_face_models
from ._mutants import Mutant, mutants
from ._specimens import VOCABULARY, WIDTH, Functional, Output, Specimen, seeded, tokens

__all__ = [
    "FAULTS",
    "LENGTH",
    "VOCABULARY",
    "WIDTH",
    "Functional",
    "Honest",
    "Mutant",
    "Output",
    "Specimen",
    "honest_models",
    "hugging_face_models",
    "mutants",
    "plant",
    "seeded",
    "tokens",
]

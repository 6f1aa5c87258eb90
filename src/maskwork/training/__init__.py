"""The training loop, its run folder, and the evaluation of the result."""

from ._config import TrainConfig
from ._evaluate import Evaluation, bits_per_byte, evaluate
from ._experiment import STANDARD_LIBRARY, Experiment
from ._loop import train
from ._progress import StepReport, TrainResult
from ._recipe import DEFAULT_RECIPE, Recipe
from ._repeat import rows_of_step
from ._run import RunFolder
from ._schedule import learning_rate

__all__ = [
    "DEFAULT_RECIPE",
    "STANDARD_LIBRARY",
    "Evaluation",
    "Experiment",
    "Recipe",
    "RunFolder",
    "StepReport",
    "TrainConfig",
    "TrainResult",
    "bits_per_byte",
    "evaluate",
    "learning_rate",
    "rows_of_step",
    "train",
]

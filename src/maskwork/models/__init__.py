"""The Transformer, its configuration and its weights."""

from ._config import ModelConfig
from ._transformer import Block, Transformer
from ._weights import load_weights, save_weights

__all__ = ["Block", "ModelConfig", "Transformer", "load_weights", "save_weights"]

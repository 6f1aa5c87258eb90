"""WHAT IS SCORED: batches, objectives that make them, and the losses that read them."""

from ..data import IGNORED, Example, Reason
from ..losses import LossOutput, TargetCounts, count_targets, linear_masked_cross_entropy, masked_cross_entropy
from ._batches.batch import Batch, Objective
from ._batches.collate import collate, pad
from ._batches.seq2seq_batch import Seq2SeqBatch, collate_pairs
from ._batches.seq2seq_example import Seq2SeqExample, Seq2SeqRow, pack_pairs, pad_pairs
from ._batches.sequence_batch import SequenceBatch
from ._batches.with_weights import with_weights
from ._causal_lm import CausalLM
from ._chat.chat import Chat
from ._chat.hugging_face import HuggingFaceTemplate
from ._chat.template import ChatML, ChatTemplate
from ._curriculum import Curriculum, DifficultyHistory
from ._denoising.sentinels import sentinels_of
from ._denoising.span_corruption import SpanCorruption, corrupt_spans
from ._denoising.ul2 import UL2, Denoiser
from ._explain.batch import BatchExplanation, explain_batch
from ._fill_in_the_middle import FillInTheMiddle
from ._masked_lm import MaskedLM
from ._prefix_lm import PrefixLM
from ._sentence_pair import SentencePair, SentencePairBatch, TextPair
from ._sequence_classification import SequenceClassification
from ._sequence_to_sequence import SequenceToSequence
from ._stream import PackedStream
from ._token_tagging import Tagged, TokenTagging

__all__ = [
    "IGNORED",
    "UL2",
    "Batch",
    "BatchExplanation",
    "CausalLM",
    "Chat",
    "ChatML",
    "ChatTemplate",
    "Curriculum",
    "Denoiser",
    "DifficultyHistory",
    "Example",
    "FillInTheMiddle",
    "HuggingFaceTemplate",
    "LossOutput",
    "MaskedLM",
    "Objective",
    "PackedStream",
    "PrefixLM",
    "Reason",
    "SentencePair",
    "SentencePairBatch",
    "Seq2SeqBatch",
    "Seq2SeqExample",
    "Seq2SeqRow",
    "SequenceBatch",
    "SequenceClassification",
    "SequenceToSequence",
    "SpanCorruption",
    "Tagged",
    "TargetCounts",
    "TextPair",
    "TokenTagging",
    "collate",
    "collate_pairs",
    "corrupt_spans",
    "count_targets",
    "explain_batch",
    "linear_masked_cross_entropy",
    "masked_cross_entropy",
    "pack_pairs",
    "pad",
    "pad_pairs",
    "sentinels_of",
    "with_weights",
]

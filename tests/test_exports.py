"""The public names: a change of this list is a change of the interface."""

import importlib
import sys

import pytest

import maskwork

PUBLIC = {
    "maskwork": (
        "Batch BatchExplanation BoundMask Cause Diff Explanation Grid LossOutput Mask PositionBias Spans "
        "Verdict alibi attention audit band block_causal blocks cache causal chunked custom data decoding dilated "
        "document edges empty errors explain_batch explore from_additive from_cu_seqlens from_dense from_key_bounds "
        "from_key_padding_mask from_mha from_spans full global_tokens kernels linear_masked_cross_entropy losses lower "
        "masked_cross_entropy match models neighborhood nn objectives packed padding parse per_head per_row plan "
        "prefix random_blocks real real_queries recipes rectangles relative_bias sinks sliding_window testing training "
        "tree within"
    ),
    "maskwork.cache": "KVCache",
    "maskwork.data": (
        "Corpus Document Example IGNORED PackedRow PackedRows Reason Side Tokenizer Waste as_tokens "
        "compressed_bits_per_byte default_cache_dir pack read_corpus standard_library temporary_beside "
        "token_text train_tokenizer visible write_atomic"
    ),
    "maskwork.decoding": "Sampling StreamingDetokenizer generate sample",
    "maskwork.explorer": "create_app explore serve",
    "maskwork.hf": (
        "OpenedModel build_random check_weight_files describe_model is_model_folder masks_text open_folder open_model "
        "own_masks read_config"
    ),
    "maskwork.web": "Guard RevalidatedFiles Server listen refusal",
    "maskwork.kernels": "Plan PositionBias alibi attention plan relative_bias to_tiles",
    "maskwork.losses": "LossOutput TargetCounts count_targets linear_masked_cross_entropy masked_cross_entropy",
    "maskwork.lower": (
        "CODE_LIBRARIES HuggingFaceMask SdpaArguments VarlenArguments bind_outside_graph lowered outside_graph "
        "sdpa_shortcut span_mask_mod to_additive to_block_mask to_code to_dense to_hf to_sdpa to_varlen "
        "transforms"
    ),
    "maskwork.masks.recipes": (
        "bigbird block_diffusion chunked_local flamingo gist gpt longformer mistral multimodal next_scale packed "
        "prefix_lm shared_prefix sliding_tile streaming streaming_llm time_window"
    ),
    "maskwork.models": "Block ModelConfig Transformer load_weights save_weights",
    "maskwork.nn": (
        "Attention LinearScaling NTKScaling PrecomputedMask Rotary RotaryScaling SwiGLU YaRNScaling frequencies "
        "rotary_table rotate"
    ),
    "maskwork.objectives": (
        "Batch BatchExplanation CausalLM Chat ChatML ChatTemplate Curriculum Denoiser DifficultyHistory "
        "Example FillInTheMiddle HuggingFaceTemplate IGNORED LossOutput MaskedLM Objective PackedStream "
        "PrefixLM Reason SentencePair SentencePairBatch Seq2SeqBatch Seq2SeqExample Seq2SeqRow "
        "SequenceBatch SequenceClassification SequenceToSequence SpanCorruption Tagged TargetCounts "
        "TextPair TokenTagging UL2 collate collate_pairs corrupt_spans count_targets explain_batch "
        "linear_masked_cross_entropy masked_cross_entropy pack_pairs pad pad_pairs sentinels_of "
        "with_weights"
    ),
    "maskwork.proof": "CHECKS FAULTS USUAL_CHECKS Cause Finding Report audit plant special_tokens",
    "maskwork.proof.zoo": (
        "FAULTS Functional Honest LENGTH Mutant Output Specimen VOCABULARY WIDTH honest_models hugging_face_models "
        "mutants plant seeded tokens"
    ),
    "maskwork.testing": "assert_cache_exact assert_honours assert_packing_isolated assert_padding_invariant",
    "maskwork.training": (
        "DEFAULT_RECIPE Evaluation Experiment Recipe RunFolder STANDARD_LIBRARY StepReport TrainConfig TrainResult "
        "bits_per_byte evaluate learning_rate rows_of_step train"
    ),
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names(module: str):
    loaded = importlib.import_module(module)
    assert sorted(loaded.__all__) == sorted(PUBLIC[module].split())
    for name in loaded.__all__:
        assert getattr(loaded, name) is not None
    assert set(loaded.__all__) <= set(dir(loaded))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'causl'"):
        maskwork.causl  # noqa: B018


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("maskwork.lower", "to_tiles"),
        ("maskwork.proof.mutants", "mutants"),
        ("maskwork.proof.honest", "honest_models"),
        ("maskwork.proof.specimens", "Specimen"),
    ],
)
def test_a_name_that_moved_is_still_there_and_warns(module: str, name: str, monkeypatch: pytest.MonkeyPatch):
    if module != "maskwork.lower":
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.warns(DeprecationWarning, match="has moved, import"):
        assert callable(getattr(importlib.import_module(module), name))

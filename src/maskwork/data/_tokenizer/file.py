"""Reading a `tokenizer.json`: every part is checked, so a damaged file gives one line, not wrong tokens.

The backend would accept tokenizers of every kind, and ends the process's thread with a panic on some damaged files.
Only the vocabulary and the merges are taken from the file; the pipeline round them is built anew.
"""

import json
from typing import Any

from ..._shared.numbers import is_integer
from ...errors import DataError
from .alphabet import BYTE_OF

#: The one special token: it separates documents, and text can never produce it.
END_OF_TEXT = "<|endoftext|>"

# Options of the backend's BPE that change how it encodes; this package sets none of them.
_FOREIGN_OPTIONS = (
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "ignore_merges",
)


def read_vocabulary(text: str, source: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return (token -> id, merges) of a byte-level BPE with `<|endoftext|>`; raise `DataError` with `source`."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise _broken("text that is not JSON", source) from None
    if not isinstance(fields, dict) or not isinstance(fields.get("model"), dict):
        raise _broken("no model", source)
    _check_pipeline(fields, source)
    vocabulary, merges = fields["model"].get("vocab"), fields["model"].get("merges")
    if not isinstance(vocabulary, dict) or not isinstance(merges, list):
        raise _broken("no vocabulary or no merges", source)
    _check_vocabulary(vocabulary, source)
    return vocabulary, [_merge(entry, vocabulary, source) for entry in merges]


def _check_pipeline(fields: dict[str, Any], source: str) -> None:
    """Refuse a file that this package would encode differently: another model, a normalizer, other cuts."""
    model, cuts, added = fields["model"], fields.get("pre_tokenizer"), fields.get("added_tokens")
    if model.get("type") != "BPE":
        raise _broken("a model of another type", source)
    options = [name for name in _FOREIGN_OPTIONS if model.get(name)]
    if options:
        raise _broken(f"the option {options[0]}", source)
    if fields.get("normalizer") is not None:
        raise _broken("a normalizer, which changes the text", source)
    if (
        not isinstance(cuts, dict)
        or cuts.get("type") != "ByteLevel"
        or cuts.get("add_prefix_space") is not False
        or cuts.get("use_regex", True) is not True
    ):
        raise _broken("another pre-tokenizer", source)
    if not isinstance(added, list) or [_content(entry) for entry in added] != [END_OF_TEXT]:
        raise _broken("other special tokens, or none,", source)


def _content(added_token: Any) -> Any:
    """Return the text of an entry of `added_tokens`, None for a malformed one."""
    return added_token.get("content") if isinstance(added_token, dict) else None


def _check_vocabulary(vocabulary: dict[str, Any], source: str) -> None:
    """Refuse a vocabulary whose ids have gaps, that lacks a byte, or that has a token of no bytes."""
    ids = vocabulary.values()
    if not all(is_integer(token_id) for token_id in ids) or set(ids) != set(range(len(vocabulary))):
        raise _broken("token ids that are not 0, 1, 2, … without a gap", source)
    if END_OF_TEXT not in vocabulary:
        raise _broken(f"no token {END_OF_TEXT}", source)
    if not BYTE_OF.keys() <= vocabulary.keys():
        raise _broken("no token for some byte", source)
    for token in vocabulary:
        if not token or (token != END_OF_TEXT and not BYTE_OF.keys() >= set(token)):
            raise _broken(f"the token {token[:40]!r}, which spells no bytes,", source)


def _merge(entry: Any, vocabulary: dict[str, int], source: str) -> tuple[str, str]:
    """Return a merge, which the file holds as a pair or, by older versions, as "left right"."""
    parts: Any = entry.split(" ") if isinstance(entry, str) else entry
    is_pair = isinstance(parts, list) and len(parts) == 2 and all(isinstance(part, str) for part in parts)
    tokens: set[str] = {*parts, "".join(parts)} if is_pair else set()
    # A merge into END_OF_TEXT would let plain text produce the special token.
    if not tokens or not tokens <= vocabulary.keys() or END_OF_TEXT in tokens:
        raise _broken(f"the merge {str(entry)[:40]!r}, which does not fit its vocabulary", source)
    return parts[0], parts[1]


def _broken(problem: str, source: str) -> DataError:
    """Return the error of a file with this problem."""
    return DataError(
        f"a tokenizer file must hold a byte-level BPE with the one special token {END_OF_TEXT}, "
        f"got {problem} in {source}; train the tokenizer anew, or give the file that maskwork saved"
    )

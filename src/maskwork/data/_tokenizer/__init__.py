"""A byte-level BPE tokenizer: training, its file, its cache, tokens as text."""

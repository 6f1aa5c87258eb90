"""transformers: one place that opens a Hugging Face model and reads its own mask."""

"""`explain_batch`: every token with its target, weight, document and reason."""

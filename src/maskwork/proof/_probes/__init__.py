"""How a model is called, changed and measured, whatever the check."""

"""The chat objective and its templates."""

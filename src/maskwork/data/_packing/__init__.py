"""Documents into packed rows: examples, the fitting of lengths, rows."""

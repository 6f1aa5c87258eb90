"""Documents into packed rows: examples, packing, rows."""

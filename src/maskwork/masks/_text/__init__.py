"""A mask as text and JSON: the registry of constructors, the grammar, the writers."""

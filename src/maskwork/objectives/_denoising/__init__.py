"""Span corruption (T5) and its mixture (UL2)."""

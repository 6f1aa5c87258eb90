"""The questions that a bound mask answers: why, where masks differ, what they cost."""

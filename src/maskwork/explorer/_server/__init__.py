"""The explorer over HTTP: routes, limits, and the process that computes answers."""

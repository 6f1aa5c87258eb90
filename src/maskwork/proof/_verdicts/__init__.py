"""The verdicts of an audit: reports, causes and pictures."""

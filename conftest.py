"""The examples in README.md and docs/ run as tests."""

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()], patterns=["README.md", "docs/*.md", "docs/**/*.md"]
).pytest()

# These modules are the old addresses, which exist for one release: importing them warns.
collect_ignore = [f"src/maskwork/proof/{name}.py" for name in ("honest", "mutants", "specimens")]

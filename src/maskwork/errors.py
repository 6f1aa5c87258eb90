"""Every error that maskwork raises on purpose, as one tree.

    MaskworkError
    ├── MaskError            a mask, or what it is made of, breaks a rule           (ValueError)
    │   ├── ParseError       the text form of a mask does not parse
    │   ├── GridError        a mask does not fit the grid that it is asked about
    │   └── TooManySpans     the exact geometry would not fit its budget
    ├── CannotExpress        a backend cannot say what the mask says                (ValueError)
    ├── ArgumentError        an argument of any other call breaks its rule          (ValueError)
    │   └── PromptTooLong    a prompt does not fit the model's context
    ├── DataError            a corpus, a file or a tokenizer cannot be used         (ValueError)
    └── RunError             a run folder cannot be used                            (ValueError)
        └── CheckpointError  a checkpoint is missing, damaged or of another run

Each message is one line: the rule, what was found, the mend. The command line prints it and exits with code 2.
"""


class MaskworkError(Exception):
    """The root: catch it to catch everything that maskwork raises on purpose."""


class MaskError(MaskworkError, ValueError):
    """A mask, or what it is made of, breaks a rule."""


class ParseError(MaskError):
    """The text form of a mask does not parse; the message carries a caret under the place."""


class GridError(MaskError):
    """A mask does not fit the grid that it is asked about."""


class TooManySpans(MaskError):
    """The exact geometry of a mask would not fit its stated budget."""


class CannotExpress(MaskworkError, ValueError):
    """A backend cannot say what the mask says; the message names the term and a backend that can."""


class ArgumentError(MaskworkError, ValueError):
    """An argument of a call breaks its rule."""


class PromptTooLong(ArgumentError):
    """A prompt does not fit the model's context."""


class DataError(MaskworkError, ValueError):
    """A corpus, a file or a tokenizer cannot be used."""


class RunError(MaskworkError, ValueError):
    """A run folder cannot be used."""


class CheckpointError(RunError):
    """A checkpoint is missing, damaged or belongs to another run."""

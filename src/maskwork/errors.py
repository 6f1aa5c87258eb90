"""Every error that maskwork raises on purpose, as one tree.

    MaskworkError
    ├── MaskError            a mask, or what it is made of, breaks a rule           (ValueError)
    │   ├── ParseError       the text form of a mask does not parse
    │   ├── GridError        a mask does not fit the grid that it is bound to
    │   └── TooManySpans     the exact geometry would not fit its budget
    ├── CannotExpress        a backend cannot express the mask                      (ValueError)
    ├── ArgumentError        an argument of any other call breaks its rule          (ValueError)
    │   ├── ShapeError       tensors have shapes that do not fit together
    │   └── PromptTooLong    a prompt does not fit the model's context
    ├── DataError            a corpus, a file or a tokenizer cannot be used         (ValueError)
    └── RunError             a run folder cannot be used                            (ValueError)
        └── CheckpointError  a checkpoint is missing, damaged or of another run

Each message is one line: the rule, what was got, the fix. The command line prints the message and exits with code 2.
"""


class MaskworkError(Exception):
    """The root of all errors that maskwork raises on purpose; `except MaskworkError` catches them all."""


class MaskError(MaskworkError, ValueError):
    """Error of a mask, or of an argument that a mask is made of."""


class ParseError(MaskError):
    """Error of a mask's text form, which does not parse; a caret in the message marks the place."""


class GridError(MaskError):
    """Error of a mask that does not fit the grid that it is bound to."""


class TooManySpans(MaskError):
    """Error of a mask whose exact geometry would not fit its stated budget."""


class CannotExpress(MaskworkError, ValueError):
    """Error of a backend that cannot express a mask; the message names the term and a backend that can."""


class ArgumentError(MaskworkError, ValueError):
    """Error of an argument that breaks its rule."""


class ShapeError(ArgumentError):
    """Error of tensors whose shapes do not fit together."""


class PromptTooLong(ArgumentError):
    """Error of a prompt that does not fit the model's context."""


class DataError(MaskworkError, ValueError):
    """Error of a corpus, a file or a tokenizer that cannot be used."""


class RunError(MaskworkError, ValueError):
    """Error of a run folder that cannot be used."""


class CheckpointError(RunError):
    """Error of a checkpoint that is missing, damaged or of another run."""

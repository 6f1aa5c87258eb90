"""Text for messages stays on one line, whatever the value or the error."""

from maskwork._shared.text import first_line, short_repr


def test_a_value_is_cut_and_stays_on_one_line():
    assert short_repr("a\nb") == repr("a\nb")
    assert len(short_repr(list(range(1000)))) <= 60

    class Tall:
        def __repr__(self) -> str:
            return "first\n   second"

    assert short_repr(Tall()) == "first second"


def test_an_error_is_its_first_line_or_its_type():
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(KeyError()) == "KeyError"

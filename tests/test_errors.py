"""The exception tree is drawn completely, decides retries alone, and prints each error in three parts."""

import pickle

import pytest

from pipeline import errors
from pipeline.errors import BarometerError, RequestError, TerminalError, TransientError


def all_errors() -> list[type[BarometerError]]:
    return [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, BarometerError)]


def test_the_drawing_names_every_class() -> None:
    drawn = {word for word in (errors.__doc__ or "").replace("├──", " ").replace("└──", " ").split() if "Error" in word}
    assert {c.__name__ for c in all_errors()} <= {word.strip("`,.") for word in drawn}


def test_every_error_is_terminal_or_transient() -> None:
    for error in all_errors():
        if error is not BarometerError:
            assert issubclass(error, TerminalError) != issubclass(error, TransientError), error


def test_what_an_error_quotes_can_neither_break_its_line_nor_drive_a_terminal() -> None:
    error = BarometerError("A library says: no\n  such\r\nfile\n.", "\x1b[2J'a  b'", "C\0\x9b.")
    assert str(error) == "A library says: no such file. Expected:  [2J'a  b' What to do: C."


@pytest.mark.parametrize("kind", all_errors())
def test_an_error_says_found_expected_and_what_to_do(kind: type[BarometerError]) -> None:
    error = kind(*([422] if kind is RequestError else []), "A.", "B.", "C.")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert vars(copy) == vars(error)
    assert str(error) == str(copy) == "A. Expected: B. What to do: C."

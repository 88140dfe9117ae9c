"""The one exception that is shown to a person without a traceback, and how it names a value."""

import reprlib
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


class UserError(Exception):
    """Something the user can mend: says what is wrong, where, and what to do, in one paragraph."""


class Interrupted(Exception):
    """A signal asked the run to stop; its state is on disk and the same command resumes it."""


def shown(value: Any) -> str:
    """A value in an error message: its repr, cut short in the middle where it is long."""
    return _SHORT.repr(value)

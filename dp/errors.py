"""The one exception that is shown to a person without a traceback, and how it echoes what was given."""

from typing import Any

ECHO = 200
"""Characters of a value that an error message repeats."""
MESSAGE = 1000
"""Characters of a message that others wrote."""


class UserError(Exception):
    """Something the user can mend: says what is wrong, where, and what to do, in one paragraph."""


class Interrupted(Exception):
    """A signal asked the run to stop; its state is on disk and the same command resumes it."""


def shown(value: Any, most: int = ECHO) -> str:
    """A value as an error message echoes it: on one line, and cut in the middle where it is longer than `most`."""
    given = value if isinstance(value, str) else repr(value)
    text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in given)
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]} ({len(given):,} characters)"

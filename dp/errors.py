"""What is shown to a person in place of a traceback, and how what was given is echoed."""

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
    text = printable(given, kept="")
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]} ({len(given):,} characters)"


def printable(text: str, kept: str = "\n\t") -> str:
    """A text for a terminal: what would steer it, an escape sequence for one, is spelled out; `kept` stays."""
    return "".join(one if one.isprintable() or one in kept else ascii(one)[1:-1] for one in text)

"""The one exception that is shown to a person without a traceback."""


class UserError(Exception):
    """Something the user can mend: says what is wrong, where, and what to do, in one paragraph."""


class Interrupted(Exception):
    """A signal asked the run to stop; its state is on disk and the same command resumes it."""

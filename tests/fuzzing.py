"""Properties tried on many drawn cases: what each answer may be, and every distinct failure with its smallest example.

`pytest` tries a few cases, the same each time; `FUZZ_CASES=100000 FUZZ_SEED=1 pytest -s -m exhaustive -k fuzz` as many
others, shared among the properties by what one case costs.
"""

import contextlib
import io
import os
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import SearchStrategy

from dp.errors import UserError
from dp.jobs.closure import PACKAGE

CASES = int(os.environ.get("FUZZ_CASES", "100000"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
LIMIT = 2000
"""Characters of a message that a person still reads."""


class Unreadable(AssertionError):
    """A refusal that does not help a person."""


def counts(few: int, share: float) -> pytest.MarkDecorator:
    """A test's argument `cases`: a few, or, behind the mark, its share of all."""
    many = pytest.param(round(CASES * share), marks=[pytest.mark.slow, pytest.mark.exhaustive], id="many")
    return pytest.mark.parametrize("cases", [pytest.param(few, id="few"), many])


def explore(property: Callable[[Any], str], strategy: SearchStrategy[Any], cases: int, shrink: bool = True) -> None:
    """Try a property, which says in a word how a case ended; raises AssertionError with every distinct failure.

    A failure that was found once is passed over afterwards, so that it does not hide the next.
    """
    ends: Counter[str] = Counter()
    found: dict[str, str] = {}
    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if shrink else [])]
    while (left := cases - ends.total()) > 0:

        def one(case: Any) -> None:
            try:
                end = property(case)
            except Exception as error:
                if (name := name_of(error)) not in found:
                    raise
                end = f"failed: {name}"
            ends[end] += 1

        chosen = settings(max_examples=left, database=None, deadline=None, phases=phases, print_blob=False,
                          suppress_health_check=list(HealthCheck))  # fmt: skip
        try:
            seed(f"{SEED} {ends.total()}")(chosen(given(strategy)(one)))()
            break
        except InvalidArgument:
            raise
        except Exception as error:
            for failure in _members(error):
                name = name_of(failure)
                found[name] = "\n".join([str(failure)[:300], *getattr(failure, "__notes__", [])])[:3000]
                ends[f"failed: {name}"] += 1
    print(f"\n{ends.total()} cases:", *(f"{count} {end}" for end, count in ends.most_common()), sep="\n  ")
    if found:
        pytest.fail("\n\n".join(f"{name}\n{example}" for name, example in found.items()), pytrace=False)


def name_of(error: BaseException) -> str:
    """What tells failures apart: type and innermost place of `dp`; of an unreadable refusal, what is wrong with it."""
    origin = error.__cause__ if isinstance(error, Unreadable) and error.__cause__ else error
    frames = [one for one in traceback.extract_tb(origin.__traceback__) if Path(one.filename).is_relative_to(PACKAGE)]
    place = f"dp/{Path(frames[-1].filename).relative_to(PACKAGE)}, {frames[-1].name}" if frames else "the test"
    what = f"{type(error).__name__}: {error}" if isinstance(error, AssertionError) else type(error).__name__
    return f"{what} in {place}"


def check_refusal(error: UserError, *names: str) -> None:
    """Raises Unreadable where a refusal is not one paragraph that can be printed and names one of these."""
    text = str(error)
    if wrong := "does not say where" if not any(name in text for name in names) else _wrong_with(text):
        raise Unreadable(f"the refusal {wrong}") from error


def ended(call: Callable[..., Any], *arguments: Any) -> int:
    """How a command or a check ends for a person with a UTF-8 terminal: 0, 1, or 2 with a readable refusal.

    Raises what that person would see as a traceback.
    """
    with contextlib.ExitStack() as stack:
        for redirect, errors in (
            (contextlib.redirect_stdout, "strict"),
            (contextlib.redirect_stderr, "backslashreplace"),
        ):
            stack.enter_context(redirect(io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors)))
        try:
            call(*arguments)
        except UserError as error:
            check_refusal(error, "")
            return 2
        except SystemExit as stop:
            if isinstance(stop.__context__, UserError):
                check_refusal(stop.__context__, "")
            return int(stop.code or 0)
    return 0


def _wrong_with(text: str) -> str | None:
    if not text.strip():
        return "says nothing"
    if len(text) > LIMIT:
        return f"has over {LIMIT} characters"
    if "\n\n" in text.strip():
        return "has more than one paragraph"
    if not all(one.isprintable() or one in "\n\t " for one in text):
        return "holds what cannot be printed"
    return None


def _members(error: Exception) -> list[Exception]:
    return (
        [one for part in error.exceptions for one in _members(part)] if isinstance(error, ExceptionGroup) else [error]
    )

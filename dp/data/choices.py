"""Label words in pieces: what all choices of a row begin with, and the first piece in which they differ."""

from collections.abc import Callable
from itertools import permutations, takewhile
from typing import Any, NamedTuple

from dp.backbones.names import Family
from dp.errors import UserError
from dp.tasks.model import Task, template, words


class Answer(NamedTuple):
    """How the classes of one row are scored: `outputs`, one per class, after the pieces `shared` have been read."""

    shared: list[int]
    outputs: list[int]


def answering(tokenizer: Any, task: Task, family: Family, head: str) -> Callable[[dict[str, Any]], Answer]:
    """Canonical row -> its Answer.

    A linear head has one output per class, and the label words are not looked at. Fixed label words are one piece each.
    Words that hold fields are cut into pieces row by row. Raises UserError where that cannot be done.
    """
    scored = template(task, family)
    if scored.has_choices and head == "verbalizer":
        return lambda row: differing(tokenizer, words(task, family, row["fields"]), f"row {row['id']}")
    if head == "linear":
        fixed = Answer([], list(range(len(scored.words))))
    else:
        fixed = Answer([], _word_ids(tokenizer, words(task, family, {})))
    return lambda row: fixed


def word_id(tokenizer: Any, word: str) -> int:
    """The id of a label word. Raises UserError unless the vocabulary has it as one piece."""
    ids = tokenizer(word, add_special_tokens=False)["input_ids"]
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        pieces = tokenizer.convert_ids_to_tokens(ids)
        raise UserError(f"label word {word!r} is not one piece of the vocabulary but {pieces}; choose another word.")
    return ids[0]


def _word_ids(tokenizer: Any, fixed: list[str]) -> list[int]:
    """The id of each label word. Raises UserError where two are one piece: a tokenizer may take away a word's case,
    accents, Unicode form or spaces, and no score would tell their classes apart."""
    found: dict[int, str] = {}
    for word in fixed:
        other = found.setdefault(word_id(tokenizer, word), word)
        if other != word:
            raise UserError(f"label words {other!a} and {word!a} are the same piece to this tokenizer; choose another.")
    return list(found)


def differing(tokenizer: Any, choices: list[str], where: str) -> Answer:
    """The longest beginning, in pieces, that all choices share, and the piece that follows it in each.

    Raises UserError unless those pieces are all there, known and different.
    """
    pieces = [tokenizer(choice, add_special_tokens=False)["input_ids"] for choice in choices]
    for (a, first), (b, second) in permutations(zip(choices, pieces, strict=True), 2):
        if first == second[: len(first)]:
            relation = "in pieces the same as" if first == second else "in pieces the beginning of"
            raise UserError(
                f"{where}: choice {a!r} is {relation} {b!r}, so no piece tells them apart. Correct the row, or let the "
                "template's words end in a full stop, or in another mark that no choice goes on with."
            )
    columns = zip(*pieces, strict=False)
    shared = [column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns)]
    outputs = [row[len(shared)] for row in pieces]
    if len(set(outputs)) < len(outputs) or tokenizer.unk_token_id in outputs:
        raise UserError(
            f"{where}: the first pieces in which the choices {choices} differ are "
            f"{tokenizer.convert_ids_to_tokens(outputs)}; they must all be different, and known to the vocabulary. "
            "Correct the row, or let the template's words begin with something that tells the choices apart."
        )
    return Answer(shared, outputs)

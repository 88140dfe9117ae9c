"""Rows and the vocabulary of the smoke scale, made from a seed over a few plain words."""

import itertools
import random
from typing import Any

COLOURS = ("red", "blue", "green", "black", "white", "brown")
THINGS = ("ball", "box", "cup", "hat", "door", "lamp", "book", "chair")
OWNERS = ("cat", "dog", "bird", "horse", "child", "farmer")
FRAME = ("the", "has", "a", "and", "is", "it", "?", ".", ":", "statement", "Question", "question", "Answer")
LABEL_WORDS = ("no", "yes", "maybe")

WORDS = (*LABEL_WORDS, *FRAME, *COLOURS, *THINGS, *OWNERS)
"""Every word and punctuation mark of the toy task's rows, templates and label words."""


def rows(kind: str, split: str, count: int, seed: int) -> list[dict[str, Any]]:
    """`count` rows, half of each class.

    yes_no: is the thing of the colour that is asked for? 1 is yes. choice: which is there, choice1 (0) or choice2 (1)?

    Statements do not repeat within or across splits, so validation rows are new.
    """
    worlds = list(itertools.product(OWNERS, COLOURS, THINGS))
    random.Random(f"{seed}/worlds").shuffle(worlds)
    half = len(worlds) * 2 // 3
    own = worlds[:half] if split == "train" else worlds[half:]
    draw = random.Random(f"{seed}/{split}")
    labels = [n % 2 for n in range(count)]
    draw.shuffle(labels)
    made = []
    for number, (label, (owner, colour, thing)) in enumerate(zip(labels, own[:count], strict=True)):
        others = [c for c in COLOURS if c != colour]
        fields = {"statement": f"the {owner} has a {colour} {thing}."}
        if kind == "yes_no":
            fields["question"] = f"is the {thing} {colour if label else draw.choice(others)}?"
        else:
            choices = [f"a {colour} {thing}", f"a {draw.choice(others)} {thing}"]
            fields |= dict(zip(("choice1", "choice2"), choices[::-1] if label else choices, strict=True))
        name = f"{split}-{number}"
        made.append({"id": name, "label": label, "group": name, "cluster": name, "fields": fields})
    return made

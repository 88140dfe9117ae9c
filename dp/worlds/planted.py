"""The planted world: a language of 64 words with 4 binary features, in which every answer is known.

An instruction is one of four tokens, `ask0` .. `ask3`, put in front of a text or behind it. Where it stands says from
which end, how often it stands there says which word (twice: the first from that end, once: the second), and which token
it is says which feature of that word is asked for; the answer is yes or no. Position, length and content of a soft
prompt are these three.

A backbone is pre-trained on instructed texts (dp/worlds/pretraining.py). A task's rows carry no instruction: it asks
one question throughout, or, of several, the one that cue words in the text name, and the prompt has to do the asking.
"""

import random
from typing import Any

from dp.tasks.model import Question

FEATURES = 4
REACH = 2  # words from either end that an instruction can ask about
WORDS = tuple(f"w{number:02d}" for number in range(64))
"""Feature k of word n is bit k of n."""
INSTRUCTIONS = tuple(f"ask{feature}" for feature in range(FEATURES))
LABEL_WORDS = ("no", "yes")
VOCABULARY = (*LABEL_WORDS, *WORDS, *INSTRUCTIONS)
"""Instructions come last, so that a prompt which begins at one of the first tokens has to find them."""
LENGTHS = range(7, 11)
"""Words of a text."""
SHORTEST = range(2, 5)
"""Words of the texts that pre-training begins with."""
CUE_WORDS = 4
CUES = len(WORDS) - 4 * CUE_WORDS
"""Words from here on stand in a task's text as cues alone: the n-th CUE_WORDS of them for its n-th question."""
CUE_PLACES = 3
"""Places of a text that hold cue words, none of them a place that can be asked about."""


def times(word: int) -> int:
    """How often an instruction stands at a text's end to ask for the first or second word from there."""
    return REACH + 1 - abs(word)


def name(question: Question) -> str:
    return f"word {question.word}, feature {question.feature}"


def rows(questions: list[Question], split: str, count: int, seed: int) -> list[dict[str, Any]]:
    """`count` canonical rows, half of each class and as many of each question where they divide by both.

    The field `question` says what a row asks; no template shows it.
    """
    draw = random.Random(f"{seed}/planted/{split}")
    wanted = [(label, number) for label in (0, 1) for number in range(len(questions))]
    plan = [wanted[n % len(wanted)] for n in range(count)]
    draw.shuffle(plan)
    made = []
    for number, (label, asked) in enumerate(plan):
        question = questions[asked]
        place = question.word - 1 if question.word > 0 else question.word
        while True:
            text = [draw.randrange(CUES) for _ in range(draw.choice(LENGTHS))]
            if text[place] >> question.feature & 1 == label:
                break
        if len(questions) > 1:
            for inner in draw.sample(range(REACH, len(text) - REACH), CUE_PLACES):
                text[inner] = CUES + CUE_WORDS * asked + draw.randrange(CUE_WORDS)
        fields = {"words": " ".join(WORDS[word] for word in text), "question": name(question)}
        own = f"{split}-{number}"
        made.append({"id": own, "label": label, "group": own, "cluster": own, "fields": fields})
    return made

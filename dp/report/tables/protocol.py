"""What each switch of the released code is worth: the same variant with and without it."""

import re

from dp.report.findings import Findings
from dp.report.layout import Column, Group, Shown, Table, TableLine
from dp.report.tables.cells import by_setting, interval, label_notes
from dp.results.labels import name_of
from dp.results.table import OVERFLOW, Row
from dp.statistics import ALPHA

FIELDS = ("backbone", "regime", "k", "task", "variant", "switches", "against", "n", "seeds", "with", "without",
          "difference", "low", "high", "p", "p_holm", "test", "labels", "runs")  # fmt: skip
SWITCH = re.compile(r"\w+")

MEANING: dict[str, str] = {
    "straight_through": "choices are learned by straight-through Gumbel-Softmax",
    "raw_feature": "the instance feature is read as it is, not standardised over the training rows",
    "padded_feature": "the instance feature is the mean over all max_tokens positions, padding included",
    "relu_position_logits": "an instance's position logits pass through a ReLU",
    "relu_length_logits": "an instance's length logits pass through a ReLU",
    "tanh_pool_scores": "pool scores pass through a tanh (by protocol: unless the position is learned too)",
    "random_logits": "a task's logits begin at U(-0.5, 0.5), the bias of an instance's at U(+-1/sqrt(H)), not at 0",
    "uniform_pools": "a pool begins at U(-0.5, 0.5) (by protocol: where the position is learned too)",
    "gumbel_at_evaluation": "choices are drawn at evaluation as in training, not the argmax",
    "draw_by_four": "where a task's choice is drawn at evaluation, every four rows in the data's order share a draw",
    "rotation": "the vectors behind the input are the head of the prompt: [p_j+1..p_P; x; p_1..p_j]",
    "select_on_reported": "the best of all evaluations on the reported split is kept and reported",
    "dropout": "the frozen backbone's dropout is on in training",
    "update_every_micro_batch": "every micro-batch is an update (by protocol: unless the position alone is learned)",
    "clip_once_a_step": "clip_norm bounds the sum of a step's micro-batches; where each is an update, every last one's",
    "warmup_from_zero": "the rate of a warm-up's update s, from 0, is s / warmup_steps of the full one: the first is 0",
    "plain_shuffling": "training rows are shuffled plainly, not sorted by length within a window",
    "padded_inputs": "inputs are padded to max_tokens",
    "fillers": "vectors that a learned length drops become -1e20 and stay visible",
    "prompt_beside_finetuning": "fine-tuning tunes a prompt too, by the scale's own optimizer, and no embeddings",
    "short_schedule": "a linear schedule ends after as many updates as there are nominal steps; the rate stays 0",
    "truncate_as_released": "long inputs lose pieces of the fields that the released code cuts (by protocol alone)",
    "backwards": "broken on purpose: a choice is learned against its gradient",
    "shuffled_feature": "broken on purpose: a choice reads the feature of another row, in training too",
    "frozen_choice": "broken on purpose: a choice stays as it began, at random",
}
"""What each switch of a protocol means (dp/study/protocols.py)."""


def table(found: Findings) -> Table:
    groups = []
    for setting, of_variant in by_setting(found.prices).items():
        lines = [TableLine(_stubs(next(iter(records.values()))), records) for records in of_variant.values()]
        groups.append(Group(name_of(setting), lines))
    tasks = dict.fromkeys(row["task"] for row in found.prices)
    columns = [Column(task, _price, "number", record=task) for task in tasks]
    used = {name for row in found.prices for name in SWITCH.findall(row["switches"])}
    notes = [
        "Points of accuracy that a switch adds [95 % interval]: the variant with it minus the same without. *: p < "
        f"{ALPHA} after Holm's correction within a block. protocol.csv has both "
        "accuracies, p, its test, and the names where several switches are on together.",
        *(f"{name}: {meaning}." for name, meaning in MEANING.items() if name in used),
        *label_notes(found.prices),
    ]
    empty = (
        ""
        if groups
        else f"Scale {found.study.scale_name} runs no variant both with and without a switch of the released code "
        "(docs/methods.md), so there is nothing to price; scale ablation does."
    )
    title = "What each switch of the released code adds, in points of accuracy"
    return Table("protocol", title, FIELDS, ("variant", "switch"), columns, groups, notes, empty)


def _stubs(row: Row) -> tuple[str, str]:
    """The variant without the switch, and the switch, or how many they are."""
    names = SWITCH.findall(row["switches"])
    return row["against"], names[0] if len(names) == 1 else f"{len(names)} together"


def _price(row: Row) -> Shown:
    if row["difference"] is None:
        return Shown(OVERFLOW)
    small = row["p_holm"] not in (None, "") and row["p_holm"] < ALPHA
    return Shown(f"{100 * row['difference']:+.1f}", interval(row["low"], row["high"], 100), "*" if small else "")

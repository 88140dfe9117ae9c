"""All figures of a report, by name; dp/study/report.py has the order."""

from types import ModuleType

from dp.report.figures import (
    accuracy_by_variant,
    chosen_lengths,
    chosen_splits,
    cost,
    fewshot_curves,
    gain_over_fixed,
    learning_curves,
    optimism,
    paper_comparison,
    planted_choices,
    pool_weights,
    predictions,
    split_by_input_length,
)
from dp.study.report import FIGURES, OF_PREDICTIONS

MODULES: tuple[ModuleType, ...] = (
    paper_comparison, gain_over_fixed, accuracy_by_variant, fewshot_curves, chosen_splits, chosen_lengths,
    split_by_input_length, pool_weights, learning_curves, optimism, cost, predictions, planted_choices,
)  # fmt: skip
ALL = dict(zip((*FIGURES, *OF_PREDICTIONS), MODULES, strict=True))
ABOUT = {
    "paper_comparison": "The accuracies of the paper's tables, and beside each what our runs say, with the verdict.",
    "gain_over_fixed": (
        "What each variant gains over `fixed`, averaged over tasks, from the smallest backbone to the largest."
    ),
    "accuracy_by_variant": (
        "Accuracy of every variant with its interval, one panel per task, against the majority rate."
    ),
    "fewshot_curves": (
        "Accuracy against the examples per label, one line per variant, beside what the full train split gives."
    ),
    "chosen_splits": (
        "Where a variant that chooses puts the input: how often each split was taken on the reported examples."
    ),
    "chosen_lengths": (
        "How many vectors a variant that chooses uses: how often each length was taken on the reported examples."
    ),
    "split_by_input_length": "Whether the split that an instance variant chooses goes with the length of the input.",
    "pool_weights": (
        "Which prompts of its pool a variant uses: their mean weights over the reported examples, run by run."
    ),
    "learning_curves": "Training loss and selection accuracy by step, with the steps that selection picked.",
    "optimism": "What the best of many looks at the same rows adds: best, last and chosen evaluation of a training.",
    "cost": "What accuracy costs: trainable parameters and seconds of training of every variant.",
    "predictions": "Predicted range and measured mean of every variant, one panel per regime and task.",
    "planted_choices": (
        "What was chosen for each question (or task) by the variants that are predicted to tell them apart."
    ),
}
"""What each shows, where its caption is not at hand."""

"""All figures of a report, by name; dp/report.py has the order."""

from types import ModuleType

from dp.figures import (
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
from dp.report import FIGURES, OF_PREDICTIONS

MODULES: tuple[ModuleType, ...] = (
    paper_comparison, gain_over_fixed, accuracy_by_variant, fewshot_curves, chosen_splits, chosen_lengths,
    split_by_input_length, pool_weights, learning_curves, optimism, cost, predictions, planted_choices,
)  # fmt: skip
ALL = dict(zip((*FIGURES, *OF_PREDICTIONS), MODULES, strict=True))

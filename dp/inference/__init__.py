"""Use of what was tuned: `Tuned.load(folder).predict(rows)`."""

from dp.inference.tuned import Prediction, Tuned

__all__ = ["Prediction", "Tuned"]

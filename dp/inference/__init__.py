"""Use of what was tuned: `Predictor.load(folder).predict(rows)`."""

from dp.inference.predictor import Predicted, Predictor

__all__ = ["Predicted", "Predictor"]

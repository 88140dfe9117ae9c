"""A classifier as a training left it."""

from pathlib import Path

from dp import files
from dp.backbones.backbone import Backbone
from dp.classifier.classifier import Classifier, classifier
from dp.classifier.classifier_config import ClassifierConfig
from dp.training.state import load_tuned


def restored(trained: Path, backbone: Backbone, classes: list[int], device: str) -> tuple[Classifier, ClassifierConfig]:
    """The classifier of a training's folder, and its configuration: with what a search chose, and for every task that
    it serves. classes: the number of classes of each.

    Raises UserError and ValueError as `load_tuned`.
    """
    config = ClassifierConfig.model_validate(files.read_json(trained / "config.json"))
    model = classifier(config, backbone, classes, [], device)
    load_tuned(model.kept(), trained / "tuned.safetensors")
    return model, config

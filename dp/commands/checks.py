"""What a scale demands of a task's splits and lengths, checked while they are tokenized."""

from dp.compute.tokenize import Checks, Rows
from dp.data import enough
from dp.errors import UserError
from dp.study import needs
from dp.study.params import FewShot
from dp.study.study import Study
from dp.tasks.model import load


def checks(study: Study, backbone: str, task: str) -> Checks:
    """Enough rows of every class to train, select and report, and positions for the longest input with its prompt."""

    def rows(chosen: dict[str, Rows], official: Rows) -> None:
        try:
            enough.check(chosen, official, load(task).label_names, _few_shot(study, task), _selects(study))
        except UserError as error:
            raise UserError(f"task '{task}', scale '{study.scale_name}': {error}") from None

    return Checks(rows, lambda longest: needs.check_positions(study, backbone, task, longest))


def _few_shot(study: Study, task: str) -> list[int]:
    """The k of the scale's few-shot regimes on a task."""
    regimes = [part for part in study.scale.regimes if isinstance(part, FewShot) and task in study.tasks_in(part)]
    return [k for part in regimes for k in part.k]


def _selects(study: Study) -> bool:
    return "select_on_reported" not in study.params.protocols[study.scale.protocol]

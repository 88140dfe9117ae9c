"""What an edit makes stale: nothing, or exactly the commands that compute with it (design section 2).

Each edit is made in a copy of the project, on whose code the jobs of scale smoke are then judged by their records.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter

import pytest
from conftest import ROOT
from records import record

from dp.commands.cli import MAKING
from dp.jobs import closure, stale
from dp.study import resolve
from dp.study.study import load

RESOLVED = """
import json
from pathlib import Path
from dp.study.resolve import jobs
from dp.study.study import load
print(json.dumps({job.folder.as_posix(): job.asked for job in jobs(load(Path(), {"scale": "smoke"})).values()}))
"""
NOTHING = {
    "an error text of the parameters": ("dp/study/params.py", "must be a multiple of", "has to be a multiple of"),
    "a new word for variants": ("dp/study/variants.py", '"residual", "mixture"]', '"residual", "mixture", "novel"]'),
    "a new optional parameter": ("dp/study/params.py", "    description: str\n", "    description: str\n"
                                 "    mood: str | None = None\n"),
    "an error text of closed models": ("dp/closed.py", "does not exist;", "is not there;"),
    "a resource of a rule": ("workflow/rules/evaluate.smk", "gpu=lambda wc: gpus(),", "gpu=lambda wc: 2 * gpus(),"),
    "the progress bar": ("dp/progress.py", "mininterval=5", "mininterval=9"),
    "a comment": ("dp/training/loop.py", "\ndef train(", "\n# Words.\ndef train("),
    "a docstring": ("dp/prompts/compose.py", '"""Where prompt vectors', '"""The place where prompt vectors'),
    "recording": ("dp/jobs/record.py", "Restore it (", "Bring it back ("),
    "the command line": ("dp/commands/cli.py", "train one run", "tune one run"),
    "the worker": ("dp/worker/server.py", "import gc", "import gc, uuid"),
}  # fmt: skip
WITH_A_BACKBONE = {"features", "train", "evaluate"}
# A family's file also says how a text ends for it, and makes its tiny model.
WITH_A_FAMILY = WITH_A_BACKBONE | {"tokenize", "fetch-backbone"}
DEPENDENTS = {
    "dp/training/loop.py": {"train"},
    "dp/training/optimizers.py": {"train"},
    "dp/prompts/compose.py": {"train", "evaluate"},
    "dp/prompts/estimators.py": {"train", "evaluate"},
    "dp/backbones/seq2seq.py": WITH_A_FAMILY,
    "dp/backbones/causal.py": WITH_A_FAMILY,
    "dp/data/encoding.py": {"tokenize"},
    "dp/results/metrics.py": {"evaluate"},
    "dp/results/table.py": {"report"},
    "dp/study/grid.py": {"report"},
    "dp/study/prediction_file.py": {"report"},
    "dp/jobs/adoption.py": {"report"},
    "dp/jobs/pins.py": {"report"},
    "dp/sources/hub_lock.py": {"fetch-task", "fetch-backbone", "report"},
    "dp/study/resolve.py": set(),
    "dp/report/figures/style.py": {"report"},
    "dp/tasks/model.py": {"fetch-task", "tokenize", "fetch-backbone", "report"},
    "dp/sources/hub.py": {"fetch-task", "fetch-backbone"},
    "dp/compute/choose.py": {"choose"},
    "dp/training/trials.py": {"train", "choose", "report"},
}
"""File -> commands whose jobs an edit of its code makes stale."""


@pytest.fixture(scope="module")
def asked(study):
    return {folder.as_posix(): job.asked for folder, job in resolve.jobs(study).items()}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, whose code is the one that digests are of."""
    root = tmp_path_factory.mktemp("project")
    for name in ("dp", "workflow"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closure, "PACKAGE", root / "dp")
        forget()
        yield root
    forget()


@pytest.fixture
def copy(project):
    """It, as it was before each edit."""
    yield project
    for name in ("dp", "workflow"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    forget()


@pytest.fixture(scope="module")
def before(project, study):
    """(job, the record that it would leave on the code as it is, what it read) of every job."""
    found = []
    for job in resolve.jobs(study).values():
        read = dict.fromkeys([*job.project, *(f"{folder}/SHA256SUMS" for folder in job.upstream)], "0" * 64)
        used = {
            "digest": closure.code_digest(job.command, job.family),
            "modules": closure.modules(job.command, job.family),
        }
        found.append((job, record(job.command, job.asked) | {"used": {"inputs": read, "code": used}}, read))
    return found


def forget():
    """A process reads its code once, and here it changes."""
    for function in (closure.modules, closure._digest, closure._imports):
        function.cache_clear()


def edit(path, old, new):
    """Replace what stands in a file once, or, without it, add to its end."""
    text = path.read_text()
    assert old is None or text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
    path.write_text(f"{text}\n{new}" if old is None else text.replace(old, new))
    forget()


def code():
    return {command: closure.code_digest(command) for command in MAKING}


def judged(before):
    """Reasons -> commands of the jobs that have them; and every job of these commands has them."""
    found = {}
    for job, content, read in before:
        if why := "; ".join(stale.reasons(job, content, None, read.get)):
            found.setdefault(why, Counter())[job.command] += 1
    count = Counter(job.command for job, *_ in before)
    assert all(number == count[command] for commands in found.values() for command, number in commands.items())
    return {why: set(commands) for why, commands in found.items()}


@pytest.mark.parametrize("name", NOTHING)
def test_an_edit_that_makes_nothing_stale(copy, before, name):
    path, old, new = NOTHING[name]
    digests = code()
    edit(copy / path, old, new)
    assert code() == digests
    assert judged(before) == {}


@pytest.mark.parametrize("name", ["an error text of the parameters", "a new word for variants",
                                  "a new optional parameter", "an error text of closed models"])  # fmt: skip
def test_what_is_asked_stays_where_the_resolver_only_learns_more(copy, asked, name):
    edit(copy / NOTHING[name][0], *NOTHING[name][1:])
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", RESOLVED], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == asked


@pytest.mark.parametrize("path", DEPENDENTS)
def test_an_edit_makes_exactly_its_dependents_stale(copy, before, path):
    digests = code()
    edit(copy / path, None, "EDITED = True\n")
    assert {command for command, digest in code().items() if digest != digests[command]} == DEPENDENTS[path]
    of_smoke = DEPENDENTS[path] - {"choose"}  # it has no search
    if path == "dp/backbones/causal.py":  # and no backbone of that family
        of_smoke = set()
    assert judged(before) == ({f"code changed: {path}": of_smoke} if of_smoke else {})


SCALES = sorted(path.stem for path in (ROOT / "workflow" / "scales").glob("*.yaml"))


@pytest.mark.parametrize("scale", SCALES)
def test_what_is_asked_equals_what_a_record_reads_back(scale):
    """A record is JSON: a tuple, a number as a key or a date in `asked` would be stale the moment it is written."""
    whole = load(ROOT, {"scale": scale, "folder": "superglue"})
    one_seed = whole.model_copy(update={"scale": whole.scale.model_copy(update={"seeds": whole.scale.seeds[:1]})})
    for job in resolve.jobs(one_seed).values():
        assert json.loads(json.dumps(job.asked)) == job.asked, job.folder


def test_a_parameter_that_is_asked_for_no_more_makes_stale(before):
    """Some are in `asked` only where they act, as a switch of the released protocol is; a task's version never is."""
    job, content, read = next(one for one in before if one[0].command == "tokenize")

    def why(**more):
        return list(stale.reasons(job, content | {"asked": job.asked | more}, None, read.get))

    assert why(truncate_as_released=True) == ["truncate_as_released was true, is not asked for"]
    assert why(version="1", definition={"kind": "made_up"}) == []

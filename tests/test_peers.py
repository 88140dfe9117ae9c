"""benchmarks/peers.py compares like with like: the same rows, the same function, operations that are all counted."""

import subprocess
import sys
import time
from collections import Counter

import pytest
import torch
from conftest import PATIENCE, ROOT
from torch.nn.functional import cross_entropy, one_hot

from dp.data.batches import collate
from dp.prompts.choice import Moment

sys.path.insert(0, str(ROOT / "benchmarks"))

import peers_contestants as contestants
import peers_report as report
import peers_setting as settings

SIZES = {"device": "cpu", "dtype": "float32", "threads": 1, "updates": 2, "evaluated": 1, "batch_size": 4,
         "micro_batch_size": 2, "max_tokens": 40, "prompt_length": 3, "seed": 0}  # fmt: skip
OURS = settings.Line("ours", "adap_ins_pos", "straight_through")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A setting of tiny sizes, its backbone made."""
    made = {}

    def make(backbone, **other):
        folder = made.get(backbone) or tmp_path_factory.mktemp(backbone)
        found = settings.Setting(backbone=backbone, task="wic", folder=folder, **SIZES | other)
        if backbone not in made:
            settings.make_backbone(found)
            made[backbone] = folder
        return found

    return make


def read(contestant, split):
    """Every row that a training embeds, without padding, and how often. Prompts have an embedding of their own."""
    model = contestant.model.base_model if isinstance(contestant, contestants.Peft) else contestant.backbone.model
    found = Counter()

    def note(module, inputs):
        found.update(tuple(row[row != 0].tolist()) for row in inputs[0])

    hook = model.get_input_embeddings().register_forward_pre_hook(note)
    contestant.train(split, contestants.Meter("cpu"))
    hook.remove()
    return found


def test_every_contestant_trains_each_row_once(given):
    setting = given("tiny-llama")
    split = settings.rows(setting, "train")
    plain = Counter(tuple(ids.tolist()) for ids in split.ids)
    with_label = Counter(
        (*ids.tolist(), int(words[row["label"]]))
        for ids, words, row in zip(split.ids, split.outputs, split.rows, strict=True)
    )
    assert len(plain) == len(split) == setting.updates * setting.batch_size
    held_out = Counter([tuple(split.ids[0].tolist())])  # the loop looks at one row when it ends
    of_paper = settings.Line("paper", "adap_pos", "straight_through")
    lines = [of_paper, *(settings.Line(name, "fixed", None) for name in ("ours", "peft", "peft-tuned"))]
    found = {line.contestant: read(contestants.built(setting, line, "cpu"), split) for line in lines}
    assert found == {"ours": plain + held_out, "paper": plain, "peft": with_label, "peft-tuned": with_label}


@pytest.mark.parametrize("backbone", ["tiny-t5", "tiny-llama"])
def test_the_papers_procedure_is_the_same_function_as_ours(given, backbone):
    """Loss and prompt gradient for every split: theirs padded and mixed from candidates, ours gathered and unpadded."""
    setting = given(backbone)
    split = settings.rows(setting, "train")
    ours = contestants.built(setting, OURS._replace(variant="fixed", estimator=None), "cpu")
    paper = contestants.built(setting, OURS._replace(contestant="paper"), "cpu")
    ours.model.prompt.rotate = True  # candidate j has the head of the prompt behind the text
    vectors, count, numbers = ours.model.prompt.representation.vectors, setting.prompt_length, [0, 3, 5]
    batch, seen = collate(split, numbers), set()
    for behind in range(count + 1):
        ours.model.prompt.position.where = count - behind
        scores, _ = ours.model(batch, Moment(0, 0, 0, batch.rows, training=True, draws=True))
        loss = cross_entropy(scores, batch.labels, reduction="none")
        prompts = vectors.detach().expand(len(numbers), -1, -1).clone().requires_grad_()
        chosen = one_hot(torch.full((len(numbers),), behind), count + 1).float()
        theirs = paper.losses(paper._collated(split, numbers), (prompts, chosen))
        torch.testing.assert_close(theirs, loss, atol=1e-5, rtol=1e-5)
        (own,) = torch.autograd.grad(loss.sum(), vectors)
        (other,) = torch.autograd.grad(theirs.sum(), prompts)
        torch.testing.assert_close(other.sum(0), own, atol=1e-5, rtol=1e-4)
        seen.add(tuple(loss.tolist()))
    assert len(seen) == count + 1, "where the prompt stands makes a difference"


def executed(setting, line, split):
    counter = contestants.flop_counter()
    meter = contestants.Meter("cpu", counter)
    contestant = contestants.built(setting, line, "cpu")
    with counter:
        contestant.train(split, meter)
    return meter.told["flops"]


@pytest.mark.parametrize("estimator, passes", [("straight_through", 1), ("marginal", 2), ("exact", 4)])
def test_without_padding_as_many_operations_are_executed_as_needed(given, estimator, passes):
    """One row a batch. Torch's attention computes its scores anew in backward: a half more of a forward's attention."""
    setting = given("tiny-llama", batch_size=1, micro_batch_size=1)
    split, line = settings.rows(setting, "train"), OURS._replace(estimator=estimator)
    needs = settings.needed(setting, line, split)
    assert needs == passes * settings.needed(setting, OURS, split)
    assert 1.0 <= executed(setting, line, split) / needs < 1.06


def test_padding_to_the_longest_allowed_input_is_counted(given):
    setting = given("tiny-llama")
    split = settings.rows(setting, "train")
    found = {name: executed(setting, settings.Line(name, "fixed", None), split) for name in ("peft", "peft-tuned")}
    longest = max(len(ids) for ids in split.ids)
    assert found["peft"] / found["peft-tuned"] > setting.max_tokens / longest


def test_what_is_done_aside_is_in_no_update():
    meter = contestants.Meter("cpu")
    meter.mark()
    with meter.aside():
        time.sleep(0.2)
    meter.mark()
    assert 0 <= meter.told["seconds"] < 0.1 and meter.told["cpu_seconds"] < 0.1


def test_lengths_are_the_tasks_own(given):
    """A few batches, evenly from the shortest to the longest, are as long on average as all rows."""
    setting = given("tiny-llama", updates=16, max_tokens=480)
    lengths = [len(ids) for ids in settings.rows(setting, "train").ids]
    known = settings.quantiles()["wic", "train"]
    assert sum(lengths) / len(lengths) == pytest.approx(29.5, rel=0.07)  # of lengths.csv
    assert known[0] <= min(lengths) and max(lengths) <= known[-1]


def test_a_section_replaces_its_former_self_and_no_other(tmp_path):
    page, on = tmp_path / "README.md", {"gpu": None, "cpu": "A (B)", "cores": 2}
    told = {"setting": {"backbone": "b", "task": "rte", "dtype": "float32", "threads": 1}, "machine": on}
    other = told | {"machine": on | {"gpu": "C"}}
    for one, text in ((told, "first\n"), (other, "theirs\n"), (told, r"second \1" + "\n")):
        report.write(page, one, text)
    written = page.read_text()
    assert "first" not in written and r"second \1" in written and "theirs" in written
    assert written.startswith("# ") and written.count("<!-- peers: ") == 2


def test_a_target_is_met_by_the_median_and_stated_for_its_setting_alone():
    def rounds(*seconds):
        return [{"flops": 1.0}, *({"seconds": one} for one in seconds)]

    found = {report.FIXED: rounds(1, 1, 1), settings.Line("peft", "fixed", None): rounds(3, 5, 6)}
    (met,) = report.targets(found, [], report.OF_TARGETS)
    assert met["ratio"] == [4.0, 5.0, 5.5] and met["met"] is True and met["at_least"] == 4.0
    (unstated,) = report.targets(found, [], report.OF_TARGETS | {"task": "wic"})
    assert unstated["met"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--backbone", "gpt-5"], "there is no 'gpt-5'; there are smollm2-135m,"),
        (["--variants", "fixd"], "there is no 'fixd'; there are"),
        (["--variants", "adap_pos:gumbel"], "there are straight_through, reinforce, exact, marginal"),
        (["--variants", "fixed:exact"], "fixed chooses nothing"),
        (["--contestants", "them"], "there are peft, peft-tuned, paper, ours"),
        (["--contestants", "paper", "--variants", "fixed"], "None of paper has fixed"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_name_that_is_none_is_answered_with_those_there_are(arguments, said):
    command = [sys.executable, ROOT / "benchmarks" / "peers.py", *arguments]
    done = subprocess.run(command, text=True, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 2 and said in done.stderr

"""A regime is a value with one spelling."""

import pytest

from dp.data.regime import Regime

SPELLED = {
    "full": Regime("full"),
    "fewshot-k8-s0": Regime("fewshot", 8, 0),
    "fewshot-k16": Regime("fewshot", 16),
    "fewshot": Regime("fewshot"),
    "multitask": Regime("multitask"),
    "multitask-two-tasks": Regime("multitask", name="two-tasks"),
    "multitask-k8": Regime("multitask", name="k8"),
}
OTHERS = ["", "Full", "full-", "full-k8", "fewshot-", "fewshot-8", "fewshot-k08-s0", "fewshot-k8-s", "fewshot-s0",
          "fewshot-k8-s0-x", "multitask-", "multitasks"]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLED)
def test_parsing_is_the_inverse_of_spelling(spelling):
    assert Regime.parse(spelling) == SPELLED[spelling] and str(SPELLED[spelling]) == spelling


@pytest.mark.parametrize("spelling", OTHERS)
def test_another_spelling_is_refused(spelling):
    with pytest.raises(ValueError, match="is no regime: full, fewshot"):
        Regime.parse(spelling)


def test_what_is_left_open_holds_all_that_fill_it_in():
    few, union = Regime("fewshot", 8, 1), Regime("multitask", name="x")
    every = [few, Regime("fewshot", 8, 0), Regime("fewshot", 80, 1), Regime("full"), Regime("multitask"), union]
    assert [one for one in every if few.holds(one)] == [few]
    assert [one for one in every if Regime("fewshot", 8).holds(one)] == every[:2]
    assert [one for one in every if Regime("fewshot").holds(one)] == every[:3]
    assert [one for one in every if union.holds(one)] == [union]
    assert not few.holds(Regime("fewshot", 8)), "any sample is not this one"


def test_names_in_tables():
    few, union = Regime("fewshot", 8, 1), Regime("multitask", name="x")
    assert few.in_tables == "fewshot" and str(few.of_any_sample) == "fewshot-k8"
    assert union.in_tables == "multitask-x" and str(union.of_any_sample) == "multitask-x"

"""How long a run takes yet, as Snakemake's terminal says it."""

from dp.planning.time_left import TimeLeft


def test_a_rules_jobs_to_come_take_what_those_before_took():
    run = TimeLeft({"fetch": 1, "train": 5}, start=100.0)
    assert run.in_words(100.0) is None
    run.started(1, "fetch", 100.0)
    run.finished(1, 110.0)
    assert run.in_words(110.0) is None, "nothing is known of trainings"
    for job in (2, 3):  # two at once, of 40 s
        run.started(job, "train", 110.0)
        run.finished(job, 150.0)
    # 3 x 40 s to come; so far 90 s of jobs in 50 s
    assert run.in_words(150.0) == "about 70 s left"
    run.started(4, "train", 150.0)
    assert run.in_words(150.0) == "about 70 s left"
    run.finished(4, 190.0)
    assert run.in_words(190.0) == f"about {round(2 * 40 * 90 / 130, -1):.0f} s left"


def test_a_rule_that_ended_no_job_yet_makes_it_a_lower_bound():
    run = TimeLeft({"train": 400, "evaluate": 400, "report": 1}, start=0.0)
    run.started(1, "train", 0.0)
    run.finished(1, 60.0)
    assert run.in_words(60.0) == "at least 6.7 h left"  # 399 min: a minute each, one at a time
    run.started(2, "evaluate", 60.0)
    run.finished(2, 60.0)
    assert run.in_words(60.0) == "about 6.7 h left", "the report alone is no matter"
    run.finished(7, 61.0)  # of a job whose start was not seen
    assert run.left["train"] == 399


def test_nothing_is_left_at_the_end():
    run = TimeLeft({"train": 1}, start=0.0)
    run.started(1, "train", 0.0)
    run.finished(1, 60.0)
    assert run.in_words(60.0) is None

"""How long a run takes yet, from the jobs that it has ended so far."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from statistics import fmean


class TimeLeft:
    """jobs: how many of each rule the run has. Times are seconds of any clock, from the run's start."""

    def __init__(self, jobs: Mapping[str, int], start: float) -> None:
        self.left, self.start = Counter(jobs), start
        self.begun: dict[int, tuple[str, float]] = {}
        self.took: dict[str, list[float]] = defaultdict(list)

    def started(self, job: int, rule: str, now: float) -> None:
        self.begun[job] = (rule, now)

    def finished(self, job: int, now: float) -> None:
        if job in self.begun:
            rule, began = self.begun.pop(job)
            self.left[rule] -= 1
            self.took[rule].append(now - began)

    def in_words(self, now: float) -> str | None:
        """`about 4 min left`; `at least` while the rules that ended no job yet are a twentieth of what is left or more.
        None before any has, and at the end.

        A rule's jobs to come take the mean of those that ended, as many at once as there were so far on average.
        """
        ahead = {rule: count for rule, count in self.left.items() if count > 0}
        busy = sum(map(sum, self.took.values()))
        known = sum(count * fmean(self.took[rule]) for rule, count in ahead.items() if rule in self.took)
        if not known or not busy:
            return None
        seconds = known * (now - self.start) / busy
        unknown = sum(count for rule, count in ahead.items() if rule not in self.took)
        sure = "about" if 20 * unknown < sum(ahead.values()) else "at least"
        if seconds < 90:
            return f"{sure} {round(seconds, -1) or 10:.0f} s left"
        return f"{sure} {seconds / 60:.0f} min left" if seconds < 5400 else f"{sure} {seconds / 3600:.1f} h left"

"""What the audit and both doors say of a built project."""

import json
from dataclasses import dataclass

from built_project import BIN, dvc, run, short, snakemake

EVERYTHING = ["download", "evaluate", "report", "tokenize", "train"]
# Four steps leave every run at the majority class, which an audit says.
ALWAYS = {"collapsed"}


@dataclass(frozen=True)
class Verdicts:
    """`audit`: kind -> paths. `snakemake`: jobs to run, or why it refuses. `dvc`: changed outs and stages."""

    audit: dict[str, list[str]]
    snakemake: list[str] | str
    dvc: dict[str, list[str]]


CLEAN = Verdicts({}, [], {"outs": [], "deps": []})


def verdicts(root):
    printed, status = run(root, BIN / "python", "-m", "dp", "audit", "--json", check=False)
    found = {}
    for one in json.loads(printed[printed.index("{") :])["findings"]:
        if one["kind"] not in ALWAYS:
            found.setdefault(one["kind"], []).append(one["path"])
    assert status == (1 if found or ALWAYS else 0)
    printed, status = snakemake(root, "-np", "--quiet", "progress")
    if status == 0:
        outputs = [line for line in printed.splitlines() if line.startswith("    output: ")]
        planned = sorted(short([line.split()[1].split(",")[0] for line in outputs]))
    else:
        planned = printed
    changed = json.loads(dvc(root, "status", "--json").splitlines()[-1])
    kinds = {"outs": set(), "deps": set()}
    for stage, what in changed.items():
        for one in what:
            for kind in kinds:
                for path in one.get(f"changed {kind}", {}) if isinstance(one, dict) else ():
                    kinds[kind].add(path.removeprefix("results/") if kind == "outs" else stage)
    return Verdicts(
        {kind: sorted(paths) for kind, paths in found.items()},
        planned,
        {kind: sorted(names) for kind, names in kinds.items()},
    )

# What one table or claim of the paper needs in this scale, and then its verdicts (docs/claims.md).
from functools import cache, partial

from dp.paper import claimed as paper_claims
from dp.paper import matching

PAPER = paper_claims.load()


@cache
def deciding(target, *claims):
    """The evaluations that decide some claims; an error where the scale has none of them."""
    try:
        cells = matching.cells_for(STUDY, PAPER, [PAPER.claim(name) for name in claims], target)
    except UserError as error:
        raise WorkflowError(str(error))
    return [str(path) for cell in cells for path in job(paths.evaluation(SCALE, cell.run)).paths]


def evaluations_of(target, claims):
    """An input function: nothing is looked up before a target is asked for."""
    return lambda wildcards: deciding(target, *claims)


PRINTED = {f"claim_{name}": (f"--claim {name}", (name,)) for name in PAPER.claims}
for _table in paper_claims.TABLES:
    _entry = (f"--table {_table}", tuple(claim.id for claim in PAPER.of_table(_table)))
    PRINTED |= {f"table_{_table}": _entry, f"table_{_table[0]}": _entry}


for _target, (_asked, _claims) in PRINTED.items():

    rule:
        name:
            _target
        input:
            evaluations_of(_target, _claims),
        params:
            asked=_asked,
        conda:
            "../../environment.yml"
        localrule: True
        log:
            f"results/logs/claims/{SCALE}/{_target}.log",
        shell:
            logged("python -m dp claims {params.asked}")

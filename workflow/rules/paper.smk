from functools import cache, partial

from dp.paper import claimed as paper_claims
from dp.paper import matching


@cache
def paper():
    return paper_claims.load()


@cache
def deciding(target, *claims):
    """The evaluations that decide some claims; an error where the scale has none of them."""
    try:
        cells = matching.cells_for(STUDY, paper(), [paper().claim(name) for name in claims], target)
    except UserError as error:
        raise WorkflowError(str(error))
    return [str(path) for cell in cells for path in job(paths.evaluation(SCALE, cell.run)).paths]


def evaluations_of(target, claims):
    """An input function: nothing is looked up before a target is asked for."""
    return lambda wildcards: deciding(target, *claims())


def of_table(name):
    return tuple(claim.id for claim in paper().of_table(name))


def of_claim(name):
    """A call with a claim that there is none of is refused as it is read."""
    try:
        return (paper().claim(name).id,)
    except UserError as error:
        raise WorkflowError(str(error))


# Target -> what `dp claims` is asked for, and its claims. Of over 300 claims those that the call names become rules.
PRINTED = {}
for _table in paper_claims.TABLES:
    _entry = (f"--table {_table}", partial(of_table, _table))
    PRINTED |= {f"table_{_table}": _entry, f"table_{_table[0]}": _entry}
for _word in sys.argv[1:]:
    if _word.startswith("claim_"):
        _target = _word.partition(":")[0]  # as `--target-jobs` spells it
        _name = _target.removeprefix("claim_")
        PRINTED[_target] = (f"--claim {_name}", partial(of_claim, of_claim(_name)[0]))


for _target, (_asked, _claims) in PRINTED.items():

    rule:
        """What a table or a claim of the paper needs in this scale, and then its verdicts (docs/claims.md)."""
        name:
            _target
        input:
            evaluations_of(_target, _claims),
        log:
            f"results/logs/claims/{SCALE}/{_target}.log",
        localrule: True
        conda:
            "../../environment.yml"
        params:
            asked=_asked,
        shell:
            logged("python -m dp claims {params.asked}")

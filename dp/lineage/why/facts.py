"""What a person looks for at each kind of node, in words; the whole of it is in the record."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from dp.lineage.why.tree import Node

Record = dict[str, Any]
TREE = {None: "state of the tree unknown", True: "dirty tree", False: "clean tree"}
"""`dirty` of a record, in words."""


def seconds(value: float) -> str:
    """0.02 s, 3.2 s, 4 min 5 s, 2 h 3 min."""
    if value < 60:
        return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def surroundings(record: Record) -> dict[str, str]:
    """Fact -> value, for the facts that most jobs share. Jobs that load no torch count no threads."""
    found = record["with"]
    facts = {
        "commit": f"{found.get('commit') or 'none'}, {TREE[found.get('dirty')]}",
        "host": found.get("host"),
        "machine": f"{found.get('platform')}, {found.get('processor_count')} processors",
        "device": f"{found.get('device')}" + (f" (CUDA {found['cuda']})" if found.get("cuda") else ""),
        "threads": found.get("threads"),
        "python": found.get("python"),
        "packages": ", ".join(f"{name} {version}" for name, version in found["packages"].items() if version),
    }
    return {name: str(value) for name, value in facts.items() if value}


def common(nodes: Iterable[Node]) -> dict[str, str]:
    """Fact -> the value that most jobs have."""
    counts: dict[str, Counter[str]] = {}
    for node in nodes:
        for name, value in surroundings(node.record).items() if node.record else ():
            counts.setdefault(name, Counter())[value] += 1
    return {name: found.most_common(1)[0][0] for name, found in counts.items()}


def differences(record: Record, shared: dict[str, str]) -> list[str]:
    """The facts of a job that are not those of most; of the packages only those that differ."""
    lines = []
    for name, value in surroundings(record).items():
        if value != shared[name]:
            usual = shared[name].split(", ") if name == "packages" else []
            lines.append(f"{name} {', '.join(part for part in value.split(', ') if part not in usual) or value}")
    return lines


def about(record: Record) -> list[str]:
    """Lines on what was asked of a job and what it found."""
    asked, made = record["asked"], record["made"]
    match record["command"]:
        case "fetch-task":
            lines = [f"{_origin(made)}, task version {asked.get('version')}; rows {_pairs(made.get('rows') or {})}"]
        case "fetch-backbone":
            weights = f"{made.get('parameters')} parameters, {made.get('dtype')}"
            lines = [f"{asked.get('family')}, {_origin(made)}, {weights}"]
        case "tokenize":
            cut = made.get("truncated") or {}
            truncated = f"truncated: {_pairs(cut)}" if any(cut.values()) else "none truncated"
            rows = _pairs(made.get("rows") or {})
            lines = [f"rows {rows}; at most {asked.get('max_tokens')} tokens, {truncated}",
                     f"selection split: {made['selection_split']}" if made.get("selection_split") else ""]  # fmt: skip
        case "features":
            compute = asked.get("compute") or {}
            lines = [f"{asked.get('pooling')}, {compute.get('dtype')} on {compute.get('device')}"]
        case "train":
            lines = _train(asked, made)
        case "choose":
            chose = f"trial {made.get('chosen')} of {made.get('trials')}: {_pairs(made.get('setting') or {})}"
            lines = [f"{asked.get('method')} search; chose {chose}"]
        case "evaluate":
            lines = _evaluate(asked, made)
        case "report":
            admitted = ", dirty trees admitted" if asked.get("allow_dirty") else ""
            lines = [f"{made.get('runs')} runs in {made.get('rows')} rows{admitted}"]
        case _:
            lines = []
    labels = f"labels: {', '.join(made['labels'])}" if made.get("labels") else ""
    return [line for line in (*lines, labels) if line]


def _evaluate(asked: Record, made: Record) -> list[str]:
    chosen, control = made.get("choices") or {}, asked.get("control") or {}
    how = ", ".join(f"{key} {value}" for key, value in control.items() if value and key != "control_of")
    counts = [f"{key} {_rows(chosen[key])}" for key in ("split", "length") if key in chosen]
    pool = [f"mean weights of the pool {chosen['pool']}"] if "pool" in chosen else []
    return [
        f"no number: {made['overflow']['why']}" if made.get("overflow") else "",
        f"{made.get('n')} reported rows, {_protocol(asked)}",
        f"control of {control['control_of']}: {how}" if control else "",
        f"chosen: {'; '.join([*counts, *pool])}" if chosen else "",
    ]


def _train(asked: Record, made: Record) -> list[str]:
    budget, tuned = asked.get("training") or {}, made.get("trainable_parameters")
    optimizer, selection = budget.get("optimizer") or {}, made.get("selection") or {}
    setting = made.get("setting")
    is_frozen = made.get("backbone_frozen")
    frozen = "" if is_frozen is None else f", backbone {'frozen' if is_frozen else 'tuned'}"
    others, before = made.get("other_starts") or {}, ""
    if others:
        before = f" (start {made.get('start')} of {len(made.get('starts') or [])}; {others.get('steps')} of the others)"
    if made.get("steps_before"):
        before += f" (after {made['steps_before']} of its source)"
    if made.get("stopped"):
        before += f" ({made['stopped']})"
    selected = f"selected step {made.get('selected_step')}"
    if made.get("overflow"):
        selected = f"no step selected: {made['overflow']['why']}"
    elif selection:
        selected += f": {selection['rule']}; accuracy {selection['accuracy']:.4f} on {selection['rows']} selection rows"
    rate = f"{optimizer.get('name')}, lr {optimizer.get('lr')}, {optimizer.get('schedule')}"
    union = asked.get("multitask")
    cap = f", cap {union['cap']}" if union and union["cap"] else ""
    return [
        f"{_definition(asked)}; {_protocol(asked)}",
        f"union of {', '.join(union['tasks'])}: n^{union['alpha']}{cap}" if union else "",
        f"{made.get('steps')} steps{before}, batch {budget.get('batch_size')}, {rate}",
        f"{tuned} parameters tuned{frozen}",
        f"setting: {_pairs(setting)}" if setting else "",
        selected,
    ]


def _origin(made: Record) -> str:
    """The source with what pins it, and its license where the record has one."""
    where = made.get("repo") or made.get("package") or made.get("folder") or ""
    pins = [f"{key} {made[key]}" for key in ("revision", "commit", "format", "seed", "license")
            if made.get(key) is not None]  # fmt: skip
    pins += ["pinned by no commit of the project"] if made.get("pinned") is False else []
    return ", ".join([f"source {made.get('source')} {where}".strip(), *pins])


def _definition(asked: Record) -> str:
    """The variant as position, length and representation, or as a baseline."""
    definition, prompt = asked.get("definition") or {}, asked.get("prompt") or {}
    if definition.get("baseline"):
        return f"baseline {definition['baseline']}"
    words = [f"{key} {_factor(definition.get(key))}" for key in ("position", "length", "representation")]
    words += [f"pool of {prompt['pool']}"] if "pool" in prompt else []
    return ", ".join(words + ([f"{prompt['length']} vectors"] if "length" in prompt else []))


def _factor(value: Any) -> str:
    return f"as {value['learned_by']} learned it" if isinstance(value, dict) and "learned_by" in value else str(value)


def _protocol(asked: Record) -> str:
    return f"protocol {asked.get('protocol')}" + (f" ({', '.join(asked['switches'])})" if asked.get("switches") else "")


def _rows(counts: dict[str, int]) -> str:
    """`2 on 40 rows, 3 on 1`: values with the number of rows, the most frequent first."""
    by_count = sorted(counts.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{value} on {count}{'' if place else ' rows'}" for place, (value, count) in enumerate(by_count))


def _pairs(value: dict[str, Any]) -> str:
    return ", ".join(f"{key} {one}" for key, one in value.items() if one is not None)

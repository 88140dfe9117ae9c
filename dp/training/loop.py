"""The training loop."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dp import files
from dp.classifier.classifier import Classifier
from dp.classifier.scoring import score
from dp.data.batches import Batch, collate, padding_share, training_batches
from dp.data.tokens import Split
from dp.errors import Interrupted, UserError
from dp.numerics.finite import check_finite, not_finite
from dp.progress import bar as progress_bar
from dp.prompts.choice import Moment, temperature
from dp.prompts.estimators import objective
from dp.prompts.prompt import Choices
from dp.training import overflow
from dp.training.advance import Backward, Clock, Passes, Training, alone
from dp.training.fitting import fitting_parts
from dp.training.loop_config import LoopConfig, Mixing, RunBudget
from dp.training.optimizers import learning_rate, optimizers
from dp.training.signals import stop_requests
from dp.training.state import Best, State, restore, tensors_of
from dp.training.stopping import exhausted
from dp.training.tally import Tally


class Rows(NamedTuple):
    """A split with the instance features [R, H] of its rows, or None."""

    split: Split
    features: Tensor | None


def train(
    classifier: Classifier,
    train_rows: Rows,
    selection: list[Rows],
    config: LoopConfig,
    run: Path,
    identity: str,
    until: int | None = None,
) -> dict[str, Any]:
    """`updates` by themselves. Raises Interrupted on SIGINT or SIGTERM (the state then lies in `run/state/`)."""
    state, parts = State(run, identity), fitting_parts([classifier], *train_rows, config)
    passes = Passes(classifier.backbone, parts, config.torch_compile)
    with stop_requests() as stop:
        training = updates(classifier, train_rows, selection, config, run, state, stop, until=until)
        facts = alone(training, passes) | passes.facts()
    if until is None or until >= config.training.steps or "status" in facts:
        state.finish(run / "steps.jsonl")
    return facts


def updates(
    classifier: Classifier,
    train_rows: Rows,
    selection: list[Rows],
    config: LoopConfig,
    run: Path,
    state: State,
    stop: Sequence[object],
    clock: Clock | None = None,
    until: int | None = None,
    shown: str | None = None,
) -> Training:
    """Tune for `steps`, keep the tensors that did best on the selection rows; facts for the record.

    state: in which it resumes, and which it leaves with the whole log. stop: not empty once it is to end before its
    time. shown: what the progress bar says; "": there is none; None: the run's folder.
    until: end after so many of the steps, and leave the state for who goes on (dp/training/starts.py). A run also ends
    where the stopping rule says so (dp/training/stopping.py); "steps" counts the updates that were made.
    selection: one entry per task. Best is the highest selection accuracy (the mean over tasks), then the lowest
    selection loss, then the earliest. The tensors to save come under "tensors". A run
    whose fillers overflow (dp/training/overflow.py) ends before that update with the facts of its status and the
    tensors as they were, of which none was selected. Raises UserError on a loss, gradient or parameter that is not
    finite (its status is then in `run/failure.json`) and Interrupted where it ends by `stop`.
    """
    if train_rows.features is not None:
        check_finite({"the table": train_rows.features}, "Instance features", "Delete their folder and run again.")
    budget, seed, device = config.training, config.seed, classifier.device
    split, trained = train_rows.split, classifier.trained()
    room, mixing = classifier.longest_text, config.multitask or Mixing()
    longest = max(len(ids) for rows in (train_rows, *selection) for ids in rows.split.ids)
    classifier.check_lengths(config.input_width or longest)
    scheduled, switches = optimizers(trained, budget), config.switches
    moving = [part.optimizer for part in scheduled]
    done, best = state.resume(trained, moving)
    lengths = [len(ids) for ids in split.ids]
    tasks = split.tasks.tolist() if config.multitask else None
    batches = training_batches(lengths, budget.batch_size, budget.steps, seed, tasks, mixing.alpha, mixing.cap,
                               plain="plain_shuffling" in switches, order=config.batch_order)  # fmt: skip
    micro, copies, choice = budget.micro_batch_size, classifier.copies, config.choice
    ends = budget.steps // (budget.updates_per_step if "short_schedule" in switches else 1)
    last = min(until or budget.steps, budget.steps)
    has_fillers, ended, made = overflow.learns_through_fillers(config), {}, done
    clock, shown = clock or Clock(), str(run) if shown is None else shown

    with progress_bar(total=last, initial=done, unit="step", of=shown, shown=bool(shown)) as bar:
        for step in range(done, last):
            if best and exhausted(budget, step, best.step):
                break
            clock.lap()
            nominal = step // budget.updates_per_step
            tau = temperature(nominal, choice.temperature) if choice else 1.0
            bonus = choice.entropy * (1 - step / budget.steps) if choice else 0.0
            rates = [learning_rate(step, ends, part.settings, "warmup_from_zero" in switches) for part in scheduled]
            positions, tally = 0, Tally(classifier.prompt_length)
            for number, start in enumerate(range(0, budget.batch_size, micro)):
                rows = batches[step][start : start + micro]
                width = config.batch_width(max(lengths[row] for row in rows), room)
                batch = collate(split, rows, train_rows.features, width).to(device).repeated(copies)
                moment = Moment(seed, step, number, batch.rows, True, draws=True, temperature=tau, copies=copies)
                reading, choices = classifier.backbone_input(batch, moment)
                states = (yield reading) if reading else None
                scores = classifier.scores(states, batch)
                loss = expected_losses(scores, choices, batch, moment, config.estimator).sum() / budget.batch_size
                tally.add(loss, choices)
                if choices is not None and choices.entropy is not None:
                    loss = loss - bonus * choices.entropy.sum() / (copies * budget.batch_size)
                yield Backward(loss)
                positions += copies * sum(lengths[row] + classifier.prompt_length for row in rows)
            norm = torch.nn.utils.get_total_norm([p.grad for p in trained.values() if p.grad is not None])
            before = {name: value.detach().clone() for name, value in trained.items()} if has_fillers else {}
            threshold = clip_norm(step, budget, "clip_once_a_step" in switches)
            if threshold is not None:
                torch.nn.utils.clip_grads_with_norm_(trained.values(), threshold, norm)
            for optimize, rate in zip(moving, rates, strict=True):
                for group in optimize.param_groups:
                    group["lr"] = rate
                optimize.step()
                optimize.zero_grad(set_to_none=True)
            found = tally.fetch(norm, trained)
            reason = overflow.why(found.loss, found.norm) if has_fillers else None
            if reason or not (math.isfinite(found.loss) and math.isfinite(found.norm)):
                restore(trained, before)
            if reason:
                ended = overflow.ended(step + 1, budget.steps, reason)
                state.log({"step": step + 1} | ended)
                best = None
                break
            if not math.isfinite(found.loss):
                raise _not_finite(run, "loss", f"the loss is {found.loss}", step, rates[0], config)
            if not math.isfinite(found.norm):
                raise _not_finite(run, "gradient", f"the gradients' norm is {found.norm}", step, rates[0], config)
            if not found.finite:
                name = not_finite(trained)
                raise _not_finite(run, "parameter", f"{name} is NaN or infinite", step, rates[0], config)

            seconds = clock.lap()
            line = {"step": step + 1, "loss": found.loss, "lr": rates[0], "temperature": tau, "tokens": positions,
                    **found.choices, "tokens_per_second": round(positions / seconds, 1),
                    "seconds": round(seconds, 4)}  # fmt: skip
            state.log(line)
            made = step + 1
            bar.update()
            bar.set_postfix(loss=f"{found.loss:.3f}", refresh=False)
            if budget.looks_after(step + 1) or step + 1 == last:
                best = _select(classifier, selection, config, step + 1, best, state)
            if stop or (step + 1) % budget.checkpoint_every == 0 or step + 1 == last < budget.steps:
                state.save(step + 1, trained, moving, best)
            if stop and step + 1 < budget.steps:
                raise Interrupted(f"{run}: stopped after step {step + 1}; the same command resumes there.")

    steps = [line for line in files.read_jsonl(state.log_file) if "loss" in line]
    (run / "failure.json").unlink(missing_ok=True)
    seconds, positions = (sum(line[key] for line in steps) for key in ("seconds", "tokens"))
    return {
        "tensors": best.tensors if best else tensors_of(classifier.kept()),
        "steps": made,
        "step_seconds": round(seconds, 3),
        "tokens_per_second": round(positions / seconds, 1) if steps else None,
        "examples_per_second": round(len(steps) * budget.batch_size / seconds, 2) if steps else None,
        "selected_step": best.step if best else None,
        "selection": {"rule": "best accuracy, then lowest loss, then earliest",
                      "rows": sum(len(rows.split) for rows in selection),
                      "accuracy": best.accuracy if best else None, "loss": best.loss if best else None},
        "train_rows": len(split),
        "trainable_parameters": sum(p.numel() for p in trained.values()),
        "backbone_frozen": config.definition.baseline != "finetune",
        "forward_passes_per_row": copies,
        "padding_share": round(padding_share(batches, lengths, lambda longest: config.batch_width(longest, room)), 4),
        **({"runs_of_a_pass": round(clock.company, 3)} if clock.company > 1 else {}),
        **({"stopped": _stopped(budget, made)} if budget.stop else {}),
    } | ended  # fmt: skip


def _stopped(budget: RunBudget, made: int) -> str:
    """Why a run under a stopping rule ended, in words."""
    if made == budget.steps or budget.stop is None:
        return "all steps are made"
    return f"after {made} of {budget.steps} steps: {budget.stop.patience} looks without a better one"


def clip_norm(step: int, budget: RunBudget, once_a_step: bool) -> float | None:
    """The largest norm of the mean gradient of update `step`; None: it is not clipped.

    Every update has the optimizer's. once_a_step, as the released code: the *sum* of an update's micro-batches has it,
    and where a nominal step is several updates, the last of them alone.
    """
    norm = budget.optimizer.clip_norm
    if not once_a_step:
        return norm
    if (step + 1) % budget.updates_per_step:
        return None
    return norm * budget.micro_batch_size / budget.batch_size


def _not_finite(run: Path, kind: str, said: str, step: int, rate: float, config: LoopConfig) -> UserError:
    """The error that ends a run at update `step`, its status written, with a remedy for what can be the cause."""
    status = {"status": f"non-finite {kind}", "step": step, "said": said, "lr": str(rate)}
    files.write_json(run / "failure.json", status)
    remedy = f"lower the learning rate ({rate:g})"
    if step == 0 and kind != "parameter":
        dtype = config.compute.dtype
        remedy = f"nothing is tuned yet, so the states overflow in {dtype}: choose float32, or a smaller prompt.init"
    return UserError(f"{run}: {said} at step {step}; {remedy}.")


def expected_losses(scores: Tensor, choices: Choices | None, batch: Batch, moment: Moment, estimator: str) -> Tensor:
    """What each of B rows adds to the objective [B]. scores: [copies x B, C]; batch: as `Batch.repeated` makes it."""
    losses = functional.cross_entropy(scores, batch.labels, reduction="none").view(moment.copies, -1)
    log_prob = choices.log_prob if choices else None
    return objective(estimator, losses, None if log_prob is None else log_prob.view(moment.copies, -1))


def evaluated(
    classifier: Classifier, selection: list[Rows], config: LoopConfig, step: int
) -> list[tuple[float, float]]:
    """Accuracy and loss on the rows of each task, after `step` updates."""
    found = []
    for split, features in selection:
        scores, _ = score(classifier, split, features, config, step)
        labels = torch.tensor([row["label"] for row in split.rows])
        right = (scores.argmax(1) == labels).float().mean().item()
        found.append((right, functional.cross_entropy(scores, labels).item()))
    return found


def means(found: list[tuple[float, float]]) -> tuple[float, float]:
    """Accuracy and loss over tasks."""
    accuracy, loss = (sum(values) / len(found) for values in zip(*found, strict=True))
    return accuracy, loss


def _select(
    classifier: Classifier, selection: list[Rows], config: LoopConfig, step: int, best: Best | None, state: State
) -> Best:
    """Evaluate on the selection rows; the better of this step and the best so far."""
    found = evaluated(classifier, selection, config, step)
    accuracy, loss = means(found)
    better = best is None or (accuracy, -loss) > (best.accuracy, -best.loss)
    by_task = {"by_task": [right for right, _ in found]} if len(found) > 1 else {}
    state.log({"step": step, "selection": {"accuracy": accuracy, "loss": loss} | by_task, "best": better})
    if not better:
        assert best is not None
        return best
    return Best(step, accuracy, loss, tensors_of(classifier.kept()))

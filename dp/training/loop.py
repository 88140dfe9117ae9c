"""The training loop."""

import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from dp import files
from dp.classifier import Classifier
from dp.data.batches import collate, padding_share, training_batches
from dp.data.tokens import Split
from dp.errors import Interrupted, UserError
from dp.evaluation.predict import score
from dp.prompts.choice import Moment, temperature
from dp.training.optimizers import learning_rate, optimizer
from dp.training.signals import stop_requests
from dp.training.state import State, trainable


def train(
    classifier: Classifier,
    train_split: Split,
    selection: Split,
    features: dict[str, Tensor | None],
    config: dict[str, Any],
    run: Path,
    identity: str,
) -> dict[str, Any]:
    """Tune until `steps`, keep the tensors that did best on the selection split; facts for the record.

    Best is the highest selection accuracy, then the lowest selection loss, then the earliest. The tensors to save come
    under "tensors"; the log is `run/steps.jsonl`. Raises UserError on a non-finite loss (its status is then in
    `run/failure.json`) and Interrupted on SIGINT or SIGTERM (the state then lies in `run/state/`).
    """
    budget, seed, device = config["training"], config["seed"], classifier.device
    parameters = trainable(classifier.tuned)
    optimize = optimizer(parameters.values(), budget["optimizer"])
    state = State(run, identity)
    done, best = state.resume(classifier.tuned, optimize)
    lengths = [len(ids) for ids in train_split.ids]
    batches = training_batches(lengths, budget["batch_size"], budget["steps"], seed)
    micro = budget["micro_batch_size"]
    bar = tqdm(total=budget["steps"], initial=done, unit="step", desc=str(run), file=sys.stderr, mininterval=5)

    with stop_requests() as stop, bar:
        for step in range(done, budget["steps"]):
            started = time.perf_counter()
            tau = temperature(step, **config["choice"]["temperature"])
            rate = learning_rate(step, budget["steps"], budget["optimizer"])
            total_loss, splits, positions = 0.0, None, 0
            for number, start in enumerate(range(0, budget["batch_size"], micro)):
                rows = batches[step][start : start + micro]
                batch = collate(train_split, rows, features["train"]).to(device)
                scores, split = classifier(batch, Moment(seed, step, number, tau, batch.rows))
                loss = functional.cross_entropy(scores, batch.labels, reduction="sum") / budget["batch_size"]
                loss.backward()
                total_loss += loss.item()
                positions += int(batch.mask.sum()) + len(rows) * classifier.prompt_length
                if split is not None:
                    counts = torch.bincount(split.cpu(), minlength=classifier.prompt_length + 1)
                    splits = counts if splits is None else splits + counts
            if not math.isfinite(total_loss):
                status = {"status": "non-finite loss", "step": step, "loss": str(total_loss), "lr": rate}
                files.write_json(run / "failure.json", status)
                raise UserError(f"{run}: the loss is {total_loss} at step {step}; lower the learning rate ({rate:g}).")
            torch.nn.utils.clip_grad_norm_(parameters.values(), budget["optimizer"]["clip_norm"])
            for group in optimize.param_groups:
                group["lr"] = rate
            optimize.step()
            optimize.zero_grad(set_to_none=True)

            seconds = time.perf_counter() - started
            line = {"step": step + 1, "loss": total_loss, "lr": rate, "temperature": tau, "tokens": positions,
                    "splits": None if splits is None else splits.tolist(),
                    "tokens_per_second": round(positions / seconds, 1), "seconds": round(seconds, 4)}  # fmt: skip
            state.log(line)
            bar.update()
            bar.set_postfix(loss=f"{total_loss:.3f}", refresh=False)
            if (step + 1) % budget["evaluate_every"] == 0 or step + 1 == budget["steps"]:
                best = _select(classifier, selection, features["selection"], config, step + 1, best, state)
            if stop or (step + 1) % budget["checkpoint_every"] == 0:
                state.save(step + 1, classifier.tuned, optimize, best)
            if stop and step + 1 < budget["steps"]:
                raise Interrupted(f"{run}: stopped after step {step + 1}; the same command resumes there.")

    assert best is not None
    state.finish(run / "steps.jsonl")
    (run / "failure.json").unlink(missing_ok=True)
    steps = [line for line in files.read_jsonl(run / "steps.jsonl") if "loss" in line]
    seconds, positions = (sum(line[key] for line in steps) for key in ("seconds", "tokens"))
    return {
        "tensors": best["tensors"],
        "steps": budget["steps"],
        "step_seconds": round(seconds, 3),
        "tokens_per_second": round(positions / seconds, 1),
        "examples_per_second": round(len(steps) * budget["batch_size"] / seconds, 2),
        "selected_step": best["step"],
        "selection": {"rule": "best accuracy, then lowest loss, then earliest", "rows": len(selection),
                      "accuracy": best["accuracy"], "loss": best["loss"]},
        "train_rows": len(train_split),
        "trainable_parameters": sum(p.numel() for p in parameters.values()),
        "backbone_frozen": classifier.prompt is not None,
        "padding_share": round(padding_share(batches, lengths), 4),
    }  # fmt: skip


def _select(
    classifier: Classifier,
    selection: Split,
    features: Tensor | None,
    config: dict[str, Any],
    step: int,
    best: dict[str, Any] | None,
    state: State,
) -> dict[str, Any]:
    """Evaluate on the selection split; the better of this step and the best so far."""
    scores, _ = score(classifier, selection, features, config)
    labels = torch.tensor([row["label"] for row in selection.rows])
    accuracy = (scores.argmax(1) == labels).float().mean().item()
    loss = functional.cross_entropy(scores, labels).item()
    better = best is None or (accuracy, -loss) > (best["accuracy"], -best["loss"])
    state.log({"step": step, "selection": {"accuracy": accuracy, "loss": loss}, "best": better})
    if not better:
        assert best is not None
        return best
    tensors = {name: value.detach().cpu().clone() for name, value in trainable(classifier.tuned).items()}
    return {"step": step, "accuracy": accuracy, "loss": loss, "tensors": tensors}

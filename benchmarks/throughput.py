"""Training tokens per second against the backbone's bare forward plus backward on the same batches.

    python benchmarks/throughput.py --run smollm2-135m/full/boolq/adap_ins_pos/seed0 [--set scale=open] [--steps 12]

Needs the run's tokens, backbone and (for instance policies) features on disk: `snakemake --cores all -- tokenize`.
Each batch is timed twice in turn, whole step and bare, so that a machine whose speed drifts does not decide; printed
are the medians and the median of the ratios.
"""

import argparse
import statistics
import time

import torch
from safetensors.torch import load_file
from torch.nn import functional

from dp import paths
from dp.backbones.families import load
from dp.classifier.classifier import classifier
from dp.commands import common
from dp.data import tokens
from dp.data.batches import collate, padding_share, training_batches
from dp.data.few_shot import rows_of
from dp.numerics.devices import device
from dp.numerics.sequence import Sequence
from dp.prompts.choice import Moment, temperature
from dp.study import grid
from dp.training.loop import expected_losses
from dp.training.loop_config import LoopConfig
from dp.training.optimizers import optimizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    arguments = parser.parse_args()
    study = common.study(arguments)
    cell = common.chosen(study, grid.needed_trainings(study), arguments.run)
    config = LoopConfig.model_validate(grid.training_config(study, cell))
    splits, facts = tokens.load(paths.tokens(study.scale_name, cell.backbone, cell.task))
    rows, _ = rows_of(cell.parsed_regime, splits)
    split = splits["train"].take(rows)
    features = None
    if grid.needs_features(study, cell.variant):
        folder = paths.features(study.scale_name, cell.backbone, cell.task, grid.pooling(study, cell.variant))
        features = load_file(folder / "features.safetensors")["train"][rows]
    lengths = [len(ids) for ids in split.ids]
    batches = training_batches(
        lengths, config.training.batch_size, config.training.steps, config.seed, order=config.batch_order
    )
    print(f"padding share of the run's {len(batches)} batches: {padding_share(batches, lengths):.4f}")

    with device(config.compute) as where:
        backbone = load(paths.backbone(cell.backbone), config.family, config.backbone_head, config.compute.dtype, where)
        model = classifier(config, backbone, [facts["classes"]], [], where)
        model.fit_features(features)
        parameters, copies, choice = model.trained(), model.copies, config.choice
        optimize = optimizer(parameters.values(), config.training.optimizer)

        def wait() -> float:
            if where.startswith("cuda"):
                torch.cuda.synchronize()
            return time.perf_counter()

        def step(numbers: list[int], n: int) -> tuple[float, int]:
            start = wait()
            batch = collate(split, numbers, features).to(where).repeated(copies)
            tau = temperature(n, choice.temperature) if choice else 1.0
            moment = Moment(config.seed, n, 0, batch.rows, True, True, tau, copies)
            losses = expected_losses(*model(batch, moment), batch, moment, config.estimator)
            losses.mean().backward()
            torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            optimize.step()
            optimize.zero_grad(set_to_none=True)
            return wait() - start, int(batch.mask.sum()) + len(batch.rows) * model.prompt_length

        def bare(numbers: list[int]) -> float:
            batch = collate(split, numbers, features).to(where).repeated(copies)
            width = batch.ids.shape[1] + model.prompt_length
            dtype = backbone.model.dtype
            embeds = torch.randn(len(batch.rows), width, backbone.hidden_size, device=where, dtype=dtype)
            ones = torch.ones(len(batch.rows), model.prompt_length, dtype=torch.long, device=where)
            mask = torch.cat([ones, batch.mask], dim=1)
            embeds.requires_grad_()
            start = wait()
            state = backbone.state(Sequence(embeds, mask, mask), config.head, batch.answers)
            scores = (
                model.head(state, batch.outputs, batch.tasks)
                if model.head
                else backbone.word_scores(state, batch.outputs)
            )
            functional.cross_entropy(scores, batch.labels).backward()
            return wait() - start

        whole, floor, rates = [], [], []
        for n, numbers in enumerate(batches[: arguments.steps]):
            # The first pass over a shape pays for its memory and kernels, whoever comes first.
            step(numbers, n), bare(numbers)
            seconds, positions = step(numbers, n)
            whole.append(seconds)
            rates.append(positions / seconds)
            floor.append(bare(numbers))
    ratios = sorted(b / w for b, w in zip(floor, whole, strict=True))
    print(f"{len(whole)} steps on {where}, {config.compute.threads} threads:")
    print(f"  training: median {statistics.median(rates):.0f} tokens/s")
    print(f"  share of the bare rate: median {statistics.median(ratios):.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f}")


if __name__ == "__main__":
    main()

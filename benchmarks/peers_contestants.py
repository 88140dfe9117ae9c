"""The contestants of `peers.py`, each measured in a process of its own."""

import contextlib
import io
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peers_setting import CLASSES, Line, Setting, batches, config, rows, study
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from dp.backbones.families import load
from dp.classifier.classifier import classifier
from dp.classifier.scoring import score
from dp.compute.features import of_split
from dp.data.batches import Batch, collate, evaluation_batches
from dp.data.tokens import Split
from dp.numerics.devices import device
from dp.numerics.sequence import Sequence
from dp.prompts.choice import Moment, gumbel
from dp.prompts.released import RANDOM_RANGE, SHARING
from dp.study import grid
from dp.training.loop import Rows, train
from dp.training.optimizers import optimizer

PEFT, TUNED, PAPER, OURS = CONTESTANTS = ("peft", "peft-tuned", "paper", "ours")
OF_PAPER = ("adap_pos", "adap_ins_pos", "adap_ins_vec_pos")
"""Variants that its procedure is written for here."""
PRODUCT = {"cpu": 1500, "cuda": 8192}
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda query, key, value, *rest, out_shape=None, **named: sdpa_flop_count(query, key, value)
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, query, key, value, *rest, out_shape=None, **named: sdpa_backward_flop_count(
            grad, query, key, value
        )
    ),
}
"""What torch's counter does not know: a CPU's own attention kernel."""


def measured(setting: Setting, line: Line, counts: bool, submitted: float) -> dict[str, Any]:
    """What one contestant takes. submitted: when its process was asked for, by the monotonic clock.

    counts: operations are counted, and no time is worth anything; else `bare` has the seconds of the bare passes of
    the same batches, where there are any.
    """
    torch.set_num_threads(setting.threads)
    before = resident("VmRSS")
    with _device(setting, line) as where:
        contestant = built(setting, line, where)
        start = time.monotonic() - submitted
        training, evaluated = rows(setting, "train"), rows(setting, "validation")
        contestant.train(longest(training, setting.batch_size), Meter(where))  # pays for memory and kernels
        counter = flop_counter() if counts else None
        meter = Meter(where, counter)
        with counter or contextlib.nullcontext():
            contestant.train(training, meter, bare=not counts)
        found = meter.told | {"start": start, "memory": memory(where, before)}
        if not counts:
            found["evaluation"] = contestant.evaluate(evaluated) / len(evaluated)
            reads = getattr(contestant, "reads_features", False)
            found["features"] = timed(where, contestant.features, training) / len(training) if reads else 0.0
            found["peak"] = peak(where, setting.dtype)
    return found


def flop_counter() -> FlopCounterMode:
    """It knows a CPU's attention, and not which module computes: its hooks refuse a prompt under no_grad."""
    counter = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)
    counter.mod_tracker = contextlib.nullcontext()
    counter.mod_tracker.parents = {"Global"}
    return counter


def _device(setting: Setting, line: Line) -> contextlib.AbstractContextManager[str]:
    """Ours computes repeatably and asks for a GPU that no other job holds; the others do as they usually do."""
    if line.contestant == OURS:
        return device(config(setting, line).compute)
    return contextlib.nullcontext("cuda:0" if setting.on_gpu else "cpu")


class Meter:
    """Marks at the start of every update and at the end of the last one: seconds, of them those on a CPU, FLOPs."""

    def __init__(self, where: str, counter: FlopCounterMode | None = None) -> None:
        self.where, self.counter = where, counter
        self.marks: list[tuple[float, float, int]] = []
        self.bare, self.left_out = 0.0, (0.0, 0.0)

    def mark(self) -> None:
        seconds, busy = (at - out for at, out in zip(self._now(), self.left_out, strict=True))
        self.marks.append((seconds, busy, self.counter.get_total_flops() if self.counter else 0))

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Leave out what is done within it."""
        before = self._now()
        yield
        after = self._now()
        self.left_out = tuple(out + end - start for out, end, start in zip(self.left_out, after, before, strict=True))

    def _now(self) -> tuple[float, float]:
        return now(self.where), time.process_time()

    @property
    def told(self) -> dict[str, Any]:
        """From the first mark to the last."""
        names = ("seconds", "cpu_seconds", "flops")
        whole = (end - start for start, end in zip(self.marks[0], self.marks[-1], strict=True))
        return dict(zip(names, whole, strict=True)) | {"bare": self.bare}


class Ours:
    """This project's classifier through its training loop."""

    def __init__(self, setting: Setting, line: Line, where: str) -> None:
        self.setting, self.where, self.config = setting, where, config(setting, line)
        self.reads_features = grid.needs_features(study(), line.variant)
        self.backbone = load(setting.folder, setting.entry.family, setting.head, setting.dtype, where)
        self.model = classifier(self.config, self.backbone, [CLASSES], [], where)

    def train(self, split: Split, meter: Meter, bare: bool = False) -> None:
        features = self.features(split)
        self.model.fit_features(features)
        steps = {"steps": len(split) // self.setting.batch_size}
        shorter = self.config.model_copy(update={"training": self.config.training.model_copy(update=steps)})
        held_out = Rows(split.take([0]), None if features is None else features[:1])
        with tempfile.TemporaryDirectory() as run, contextlib.redirect_stderr(io.StringIO()):
            train(Watched(self.model, meter, bare), Rows(split, features), [held_out], shorter, Path(run), "peers")

    def evaluate(self, split: Split) -> float:
        """Seconds, with the features from a cache."""
        return timed(self.where, score, self.model, split, self.features(split), self.config, 0)

    def features(self, split: Split) -> Tensor | None:
        """h(x) [R, H] of a split's rows, where the variant reads it: made once for a backbone and a task."""
        if not self.reads_features:
            return None
        return of_split(split, self.backbone, None, self.setting.micro_batch_size, self.where)


class Watched:
    """A classifier that marks when the loop calls it, and takes the bare pass of each batch first where it is asked."""

    def __init__(self, of: Any, meter: Meter, bare: bool) -> None:
        self._of, self._meter, self._bare, self._ended = of, meter, bare, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)

    def backbone_input(self, batch: Batch, moment: Moment) -> Any:
        """As the loop asks for it in training."""
        if self._bare:
            with self._meter.aside():
                self._meter.bare += bare_pass(self._of, batch)
        if moment.number == 0:
            self._meter.mark()
        return self._of.backbone_input(batch, moment)

    def __call__(self, batch: Batch, moment: Moment) -> Any:
        """As an evaluation asks for it."""
        if not self._ended:
            self._ended = True
            self._meter.mark()
        return self._of(batch, moment)


def bare_pass(model: Any, batch: Batch) -> float:
    """Seconds of the backbone's forward and backward pass over as many positions, with nothing else done."""
    backbone, where = model.backbone, model.device
    vectors = model.prompt_length if model.prompt else 0
    size = (len(batch.rows), vectors + batch.ids.shape[1], backbone.hidden_size)
    embeds = torch.randn(size, device=where).to(backbone.model.dtype).requires_grad_()
    mask = functional.pad(batch.mask, (vectors, 0), value=1)
    tuned = [value for value in backbone.model.parameters() if value.requires_grad]
    start = now(where)
    state = backbone.state(Sequence(embeds, mask, mask), "linear" if model.head else "verbalizer", batch.answers)
    scores = model.head(state, batch.outputs, batch.tasks) if model.head else backbone.word_scores(state, batch.outputs)
    loss = functional.cross_entropy(scores, batch.labels)
    torch.autograd.grad(loss, [embeds, *tuned], allow_unused=True)  # leaves no gradient behind
    return now(where) - start


class Paper:
    """The paper's procedure, from its description: nothing is cached, gathered or left out.

    Every input is padded to the longest allowed one; h(x) is the mean over all those positions of an extra pass over
    the un-prompted input; its logits pass a ReLU; all P + 1 candidate inputs of a row are built and mixed by a
    Gumbel-Softmax's one-hot, at evaluation too. Candidate j has the first j vectors behind the text. The temperature
    stays 1: its schedule costs nothing.
    """

    def __init__(self, setting: Setting, line: Line, where: str) -> None:
        self.setting, self.where, self.config = setting, where, config(setting, line)
        self.backbone = load(setting.folder, setting.entry.family, setting.head, setting.dtype, where)
        count, hidden, pooled = setting.prompt_length, self.backbone.hidden_size, "vec" in line.variant

        def uniform(*size: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(size, device=where).uniform_(-RANDOM_RANGE, RANDOM_RANGE))

        size = self.config.prompt.pool if pooled else 1
        self.prompts, self.task_logits = uniform(size, count, hidden), uniform(count + 1)
        self.instance_logits = nn.Linear(hidden, count + 1, device=where) if "ins" in line.variant else None
        self.pool = nn.Linear(hidden, size, device=where) if pooled else None
        self.head = nn.Linear(hidden, CLASSES, device=where) if setting.head == "linear" else None
        modules = [one for one in (self.instance_logits, self.pool, self.head) if one is not None]
        own = [self.prompts] if self.instance_logits else [self.prompts, self.task_logits]
        self.tuned = own + [value for module in modules for value in module.parameters()]
        self.optimizer = optimizer(self.tuned, self.config.training.optimizer)

    def train(self, split: Split, meter: Meter, bare: bool = False) -> None:
        self.backbone.model.train()  # dropout is on, as theirs
        micro = self.setting.micro_batch_size
        for numbers in batches(self.setting, split):
            meter.mark()
            for start in range(0, len(numbers), micro):
                batch = self._collated(split, numbers[start : start + micro])
                loss = self.losses(batch, self.drawn(batch)).sum() / len(numbers)
                loss.backward()
            nn.utils.clip_grad_norm_(self.tuned, self.config.training.optimizer.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        meter.mark()
        self.backbone.model.eval()

    @torch.no_grad()
    def evaluate(self, split: Split) -> float:
        """Seconds, in batches of four, in the data's order."""
        before = now(self.where)
        for start in range(0, len(split), SHARING):
            batch = self._collated(split, list(range(start, min(start + SHARING, len(split)))))
            self.losses(batch, self.drawn(batch)).sum().item()
        return now(self.where) - before

    def drawn(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The prompts [B, P, H] of a batch, and the one-hot [B, P + 1] of its splits, with a gradient."""
        count = len(batch.rows)
        if self.instance_logits is None:
            logits, noise = self.task_logits.expand(count, -1), gumbel(torch.rand(1, len(self.task_logits)))
        else:
            feature = self.feature(batch)
            logits = self.instance_logits(feature).relu()
            noise = gumbel(torch.rand(logits.shape))
        soft = (logits + noise.to(logits)).softmax(1)
        hard = functional.one_hot(soft.argmax(1), soft.shape[1]).to(soft)
        shares = torch.ones(count, 1, device=self.where) if self.pool is None else self.pool(feature).softmax(1)
        return torch.einsum("bk,kph->bph", shares, self.prompts), hard + soft - soft.detach()

    @torch.no_grad()
    def feature(self, batch: Batch) -> Tensor:
        """[B, H], float32."""
        embeds = self.backbone.embed(batch.ids)
        return self.backbone.hidden(Sequence(embeds, batch.mask, batch.mask)).float().mean(1)

    def losses(self, batch: Batch, drawn: tuple[Tensor, Tensor]) -> Tensor:
        """-log(p + 1e-15) of the label [B], under prompts [B, P, H] and shares [B, P + 1] of the candidates."""
        text = self.backbone.embed(batch.ids)
        prompts, shares = (part.to(text.dtype) for part in drawn)
        bodies = (batch.mask.sum(1) - batch.tails).tolist()
        mixed = torch.stack([
            torch.einsum("s,snh->nh", share, candidates(prompt, row, body))
            for prompt, share, row, body in zip(prompts, shares, text, bodies, strict=True)
        ])  # fmt: skip
        present = functional.pad(batch.mask, (self.setting.prompt_length, 0), value=1)
        state = self.backbone.state(Sequence(mixed, present, present), self.setting.head, batch.answers)
        scores = self.head(state) if self.head else self.backbone.word_scores(state, batch.outputs)
        return -(scores.softmax(1).gather(1, batch.labels[:, None])[:, 0] + 1e-15).log()

    def _collated(self, split: Split, numbers: list[int]) -> Batch:
        return collate(split, numbers, width=self.setting.max_tokens).to(self.where)


def candidates(prompt: Tensor, text: Tensor, body: int) -> Tensor:
    """[P + 1, P + T, H]: one row's text [T, H] with the first j vectors of the prompt [P, H] behind its body, for each
    j."""
    return torch.stack(
        [torch.cat([prompt[j:], text[:body], prompt[:j], text[body:]]) for j in range(len(prompt) + 1)]
    )  # fmt: skip


class Peft:
    """`peft`'s prompt tuning under transformers' Trainer.

    As documented: examples are padded to the longest allowed length when they are tokenized. Tuned: they are padded to
    the longest of a batch, and batches are those that grouping a whole split by length makes, in the order ours has.
    A language model learns the label's word behind the text, and its loss is over the whole vocabulary.
    """

    def __init__(self, setting: Setting, line: Line, where: str) -> None:
        import transformers
        from peft import PromptTuningConfig, get_peft_model

        auto, kind = {
            "causal": (transformers.AutoModelForCausalLM, "CAUSAL_LM"),
            "seq2seq": (transformers.AutoModelForSeq2SeqLM, "SEQ_2_SEQ_LM"),
            "encoder": (transformers.AutoModelForSequenceClassification, "SEQ_CLS"),
        }[setting.entry.family]
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        warnings.simplefilter("ignore", FutureWarning)  # what peft of one release calls in transformers of another
        self.setting, self.where, self.tuned = setting, where, line.contestant == TUNED
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(setting.folder)
        model = auto.from_pretrained(setting.folder, dtype=getattr(torch, setting.dtype))
        submodules = {"num_transformer_submodules": 1} if setting.entry.family == "seq2seq" else {}
        self.model = get_peft_model(
            model, PromptTuningConfig(task_type=kind, num_virtual_tokens=setting.prompt_length, **submodules)
        ).to(where)

    def train(self, split: Split, meter: Meter, bare: bool = False) -> None:
        order = [row for batch in batches(self.setting, split) for row in batch]
        with self._trainer(split.take(order), meter) as trainer:
            trainer.train()

    def evaluate(self, split: Split) -> float:
        """Seconds."""
        order = evaluation_batches([len(ids) for ids in split.ids], len(split), max(len(ids) for ids in split.ids))[0]
        with self._trainer(split.take(order), Meter(self.where)) as trainer:
            return timed(self.where, trainer.evaluate, trainer.train_dataset)

    @contextlib.contextmanager
    def _trainer(self, split: Split, meter: Meter) -> Iterator[Any]:
        from transformers import DataCollatorForSeq2Seq, DataCollatorWithPadding, Trainer, TrainingArguments

        setting = self.setting
        collator = DataCollatorWithPadding if setting.entry.family == "encoder" else DataCollatorForSeq2Seq
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            arguments = TrainingArguments(
                folder, max_steps=len(split) // setting.batch_size,
                per_device_train_batch_size=setting.micro_batch_size,
                gradient_accumulation_steps=setting.batch_size // setting.micro_batch_size,
                per_device_eval_batch_size=setting.micro_batch_size, seed=setting.seed, use_cpu=not setting.on_gpu,
                train_sampling_strategy="sequential" if self.tuned else "random", save_strategy="no",
                report_to="none", disable_tqdm=True, remove_unused_columns=False,
                dataloader_pin_memory=setting.on_gpu,
            )  # fmt: skip
            yield Trainer(self.model, arguments, collator(self.tokenizer), self.examples(split),
                          callbacks=[marks(meter)])  # fmt: skip

    def examples(self, split: Split) -> list[dict[str, Any]]:
        """input_ids, attention_mask and labels of each row."""
        return [
            self._example(ids.tolist(), int(outputs[row["label"]]))
            for ids, outputs, row in zip(split.ids, split.outputs, split.rows, strict=True)
        ]

    def _example(self, ids: list[int], output: int) -> dict[str, Any]:
        """output: of the label, as Split has it."""
        labels: Any = output
        width = self.setting.max_tokens
        match self.setting.entry.family:
            case "causal":
                ids, labels, width = [*ids, output], [-100] * len(ids) + [output], width + 1
            case "seq2seq":
                labels = [output, self.tokenizer.eos_token_id]
        padding = 0 if self.tuned else width - len(ids)
        if self.setting.entry.family == "causal":
            labels = labels + [-100] * padding
        return {
            "input_ids": ids + [self.tokenizer.pad_token_id] * padding,
            "attention_mask": [1] * len(ids) + [0] * padding,
            "labels": labels,
        }


def marks(meter: Meter) -> Any:
    """A callback of Trainer's that marks each update."""
    from transformers import TrainerCallback

    class Marks(TrainerCallback):
        def on_step_begin(self, *given: Any, **rest: Any) -> None:
            meter.mark()

        def on_step_end(self, arguments: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step == state.max_steps:
                meter.mark()

    return Marks()


def built(setting: Setting, line: Line, where: str) -> Any:
    return {PEFT: Peft, TUNED: Peft, PAPER: Paper, OURS: Ours}[line.contestant](setting, line, where)


def runs(contestant: str, variant: str) -> bool:
    """Whether a contestant has a variant."""
    if contestant == PAPER:
        return variant in OF_PAPER
    return contestant == OURS or variant == "fixed"


def longest(split: Split, count: int) -> Split:
    """That many of its longest rows."""
    return split.take(sorted(range(len(split)), key=lambda row: -len(split.ids[row]))[:count])


def peak(where: str, dtype: str) -> float:
    """FLOP/s of a large product in a dtype, on the threads in force; the best of five."""
    size = PRODUCT[where.split(":")[0]]
    one = torch.ones(size, size, device=where, dtype=getattr(torch, dtype))
    return 2 * size**3 / min(timed(where, torch.mm, one, one) for _ in range(5))


def timed(where: str, call: Any, *given: Any) -> float:
    start = now(where)
    call(*given)
    return now(where) - start


def now(where: str) -> float:
    """Seconds, once all that was asked of the device is done."""
    if where.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def memory(where: str, before: int | None) -> int | None:
    """Peak bytes: of the GPU's own, or by which this process grew beyond `before`; None where nobody tells."""
    if where.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    after = resident("VmHWM")
    return None if before is None or after is None else after - before


def resident(what: str) -> int | None:
    """Bytes of this process in memory, VmRSS now or VmHWM at most; None where the system does not say so."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return 1024 * int(lines[what].split()[0])

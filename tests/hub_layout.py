"""T5 LM-adapted and SuperGLUE as they lie on the hub, file by file; weights tiny and random, vocabulary small."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from safetensors.torch import save
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

SUPER_GLUE, SUPER_GLUE_COMMIT = "aps/super_glue", "3de24cf8022e94f4ee4b9d55a6f539891524d646"
LARGE_COMMIT = "195886f7051b58bcae630f2211362ce6db313e79"
DUPLICATES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
"""What old checkpoints hold beside shared.weight."""
DROPPED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
"""What they hold of a layer that no T5 has any more."""
TEXT = "the cat sat on a mat while it rained and nobody asked whether yes or no maybe would do"

Tensors = dict[str, torch.Tensor]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def weights(seed: int, dtype: torch.dtype) -> Tensors:
    """Of a tiny T5 1.1 with an output layer of its own."""
    torch.manual_seed(seed)
    drawn = T5ForConditionalGeneration(config()).state_dict()
    drawn["lm_head.weight"] = torch.randn_like(drawn["lm_head.weight"])
    return {name: tensor.to(dtype).contiguous() for name, tensor in drawn.items() if name not in DUPLICATES}


def config() -> T5Config:
    return T5Config(
        vocab_size=256, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_decoder_layers=2, num_heads=2,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
    )  # fmt: skip


def repository(folder: Path) -> dict[str, bytes]:
    """What `main` holds beside the weights that torch reads."""
    folder.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([TEXT, TEXT[::-1]] * 20),
        model_prefix=str(folder / "spiece"), vocab_size=100, hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2,
        bos_id=-1, minloglevel=2,
    )  # fmt: skip
    (folder / "spiece.vocab").unlink()
    as_published = config().to_dict() | {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}
    (folder / "config.json").write_text(json.dumps(as_published))
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    (folder / "special_tokens_map.json").write_text('{"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}')
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    return content | {".gitattributes": b"*.bin filter=lfs", "README.md": b"T5 1.1", "tf_model.h5": b"of TensorFlow"}


def old(tensors: Tensors) -> Tensors:
    """With the names that old checkpoints hold besides."""
    return tensors | dict.fromkeys(DUPLICATES, tensors["shared.weight"]) | {DROPPED: torch.zeros(32, 2)}


def pickled(tensors: Tensors, shards: int = 1) -> dict[str, bytes]:
    """pytorch_model.bin, or shards with their index."""
    content, index = {}, {}
    for shard in range(shards):
        file = "pytorch_model.bin" if shards == 1 else f"pytorch_model-{shard + 1:05}-of-{shards:05}.bin"
        part = {name: tensors[name] for name in sorted(tensors)[shard::shards]}
        buffer = io.BytesIO()
        torch.save(part, buffer)
        content[file] = buffer.getvalue()
        index |= dict.fromkeys(part, file)
    if shards > 1:
        content["pytorch_model.bin.index.json"] = json.dumps({"metadata": {}, "weight_map": index}).encode()
    return content


def converted(tensors: Tensors) -> dict[str, bytes]:
    """model.safetensors, as the hub's own conversion offers it in a pull request."""
    return {"model.safetensors": save(tensors, {"format": "pt"})}


def backbones(server: Any, folder: Path) -> dict[str, Tensors]:
    """Push the four of the paper; their weights by name."""
    main = repository(folder)
    sizes = {"small": torch.bfloat16, "base": torch.float32, "large": torch.bfloat16, "xl": torch.bfloat16}
    found = {f"t5-{size}-lm": weights(seed, dtype) for seed, (size, dtype) in enumerate(sizes.items())}
    for name, tensors in found.items():
        repo = f"google/{name}-adapt"
        server.push(repo, main | pickled(old(tensors), shards=2 if "xl" in name else 1))
        unread = main | {"pytorch_model.bin": b"not to be read where there are safetensors"}
        if "base" in name:
            server.push(repo, unread | converted(tensors), "refs/pr/2")
        if "large" in name:
            server.push(repo, unread | converted(tensors), "refs/pr/3", LARGE_COMMIT)
    return found


def super_glue(folder: Path) -> dict[str, bytes]:
    """The five tasks as parquet, from the official files."""
    content = {}
    for task, name in {"boolq": "BoolQ", "cb": "CB", "multirc": "MultiRC", "rte": "RTE", "wic": "WiC"}.items():
        for split, file in (("train", "train"), ("validation", "val")):
            lines = [json.loads(line) for line in (folder / name / f"{file}.jsonl").read_text("utf-8").splitlines()]
            content[f"{task}/{split}-00000-of-00001.parquet"] = parquet(_rows(task, lines))
        content[f"{task}/test-00000-of-00001.parquet"] = b"has no labels"
    return content


def parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


CLASSES = {"boolq": [False, True], "cb": ["entailment", "contradiction", "neutral"],
           "rte": ["entailment", "not_entailment"], "wic": [False, True]}  # fmt: skip


def _rows(task: str, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if task != "multirc":
        return [line | {"label": CLASSES[task].index(line["label"])} for line in lines]
    return [
        {
            "paragraph": line["passage"]["text"],
            "question": question["question"],
            "answer": answer["text"],
            "idx": {"paragraph": line["idx"], "question": question["idx"], "answer": answer["idx"]},
            "label": answer["label"],
        }
        for line in lines
        for question in line["passage"]["questions"]
        for answer in question["answers"]
    ]

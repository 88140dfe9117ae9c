"""The hub client against a small hub on loopback: pinning, damage, broken transfers, and clear refusals."""

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hub_server import Hub, serving
from transformers import T5Config

from dp import files
from dp.backbones.definition import BackboneEntry
from dp.errors import UserError
from dp.planning.shapes import shape_of
from dp.sources import hub
from dp.sources import rows as fetch
from dp.sources import weights as backbones
from dp.tasks import model

ROOT = Path(__file__).parents[1]
REPO = "someone/some-model"
BIG = bytes(range(256)) * 1024 * 48  # 12 MiB: more than one chunk of the client


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "client"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serving() as started:
        monkeypatch.setenv("HF_ENDPOINT", started.url)
        yield started


def get(name: str = "weights.bin", revision: str = "main", repo: str = REPO) -> hub.Fetched:
    return hub.obtain(repo, revision, "model", lambda _: [name])


def locked() -> dict:
    return yaml.safe_load(Path("workflow/hub.lock.yaml").read_text())


def test_first_use_writes_the_lock(server: Hub):
    commit = server.push(REPO, {"weights.bin": b"abc", "config.json": b"{}"})
    fetched = get()
    assert fetched.commit == commit and fetched.paths["weights.bin"].read_bytes() == b"abc"
    digest = hashlib.sha256(b"abc").hexdigest()
    assert locked() == {REPO: {"main": {"commit": commit, "files": {"weights.bin": digest}}}}
    get("config.json")
    assert set(locked()[REPO]["main"]["files"]) == {"weights.bin", "config.json"}


def test_a_moved_branch_does_not_change_what_is_used(server: Hub, tmp_path, monkeypatch):
    first = server.push(REPO, {"weights.bin": b"first", "config.json": b"{}"})
    get()
    server.push(REPO, {"weights.bin": b"second", "config.json": b"{}"})
    monkeypatch.setenv("DP_CACHE", str(tmp_path / "another machine"))
    fetched = get()
    assert fetched.commit == first and fetched.paths["weights.bin"].read_bytes() == b"first"
    assert get("config.json").commit == first


def test_datasets_and_models_of_one_name_are_apart(server: Hub):
    server.push(REPO, {"weights.bin": b"model"})
    server.push(f"datasets/{REPO}", {"weights.bin": b"data"})
    assert get().paths["weights.bin"].read_bytes() == b"model"
    data = hub.obtain(REPO, "main", "dataset", lambda _: ["weights.bin"])
    assert data.paths["weights.bin"].read_bytes() == b"data"
    assert set(locked()) == {REPO, f"datasets/{REPO}"}


@pytest.mark.parametrize("name", ["weights.bin", "config.json"])
def test_damaged_bytes_are_refused_and_not_locked(server: Hub, name):
    server.push(REPO, {name: b"a long enough content"})
    server.corrupt.add(name)
    with pytest.raises(UserError, match=rf"'{name}'.*the hub announces.*same command again"):
        get(name)
    assert name not in locked()[REPO]["main"]["files"]
    server.corrupt.clear()
    assert get(name).paths[name].read_bytes() == b"a long enough content"


def test_other_bytes_than_the_lock_are_refused(server: Hub, tmp_path, monkeypatch):
    commit = server.push(REPO, {"weights.bin": b"first"})
    get()
    server.commits[REPO, commit] = {"weights.bin": b"forged"}  # announced consistently, as after a rewritten history
    monkeypatch.setenv("DP_CACHE", str(tmp_path / "another machine"))
    with pytest.raises(UserError, match=r"hub\.lock\.yaml"):
        get()
    assert locked()[REPO]["main"]["files"]["weights.bin"] == hashlib.sha256(b"first").hexdigest()


def test_a_locked_commit_that_the_hub_lacks(server: Hub, tmp_path, monkeypatch):
    first = server.push(REPO, {"weights.bin": b"first"})
    get()
    server.push(REPO, {"weights.bin": b"second"})
    del server.commits[REPO, first]
    monkeypatch.setenv("DP_CACHE", str(tmp_path / "another machine"))
    with pytest.raises(UserError, match=rf"has no commit {first}, which workflow/hub\.lock\.yaml pins for 'main'"):
        get()


def test_a_damaged_copy_in_the_cache_is_downloaded_again(server: Hub):
    server.push(REPO, {"weights.bin": b"content"})
    get().paths["weights.bin"].resolve().write_bytes(b"damaged")
    assert get().paths["weights.bin"].read_bytes() == b"content"


def test_a_broken_transfer_resumes(server: Hub):
    server.push(REPO, {"weights.bin": BIG})
    server.cut_after["weights.bin"] = [10 * 1024 * 1024 + 17]
    assert get().paths["weights.bin"].read_bytes() == BIG
    assert server.ranges("weights.bin") == ["", f"bytes={10 * 1024 * 1024}-"]


def part(server: Hub, tmp_path: Path, content: bytes) -> Path:
    """What an earlier call left of the weights."""
    server.push(REPO, {"weights.bin": BIG, "config.json": b"{}"})
    get("config.json")
    (blobs,) = (tmp_path / "cache/hub").glob("models--*/blobs")
    left = blobs / f"{hashlib.sha256(BIG).hexdigest()}.incomplete"
    left.write_bytes(content)
    return left


@pytest.mark.parametrize(
    ("content", "ranges"),
    [
        (BIG[:1000], ["bytes=1000-"]),
        (BIG, []),
        (BIG + b"more", [""]),
        (b"damaged", ["bytes=7-", ""]),
    ],
    ids=["a part", "all of it", "more than all", "other bytes"],
)
@pytest.mark.parametrize("whole", [False, True], ids=["", "all is sent whatever part is asked for"])
def test_what_an_earlier_call_left_is_gone_on_with(server: Hub, tmp_path, content, ranges, whole):
    left, server.whole = part(server, tmp_path, content), whole
    assert get().paths["weights.bin"].read_bytes() == BIG
    assert server.ranges("weights.bin") == (ranges[:1] if whole else ranges) and not left.exists()


def test_an_address_that_expires_midway_is_asked_for_anew(server: Hub, tmp_path):
    part(server, tmp_path, b"")
    server.cut_after["weights.bin"] = [11 * 1024 * 1024]
    server.answers["GET storage"] = [0, 403]
    assert get().paths["weights.bin"].read_bytes() == BIG
    assert server.ranges("weights.bin")[-2:] == [f"bytes={10 * 1024 * 1024}-"] * 2


def test_a_hub_that_is_busy_for_a_moment_is_asked_again(server: Hub, tmp_path):
    part(server, tmp_path, BIG[:1000])
    server.answers["HEAD"] = [503]
    assert get().paths["weights.bin"].read_bytes() == BIG
    assert server.ranges("weights.bin") == ["bytes=1000-"]


def test_what_is_no_hub_costs_no_part(server: Hub, tmp_path):
    left = part(server, tmp_path, BIG[:1000])
    server.answers["HEAD"] = [200]
    with pytest.raises(UserError, match=r"what answers at .* is no hub"):
        get()
    assert left.read_bytes() == BIG[:1000] and not server.ranges("weights.bin")


@pytest.mark.parametrize("why", ["the size is not told", "locks do nothing", "it is too large"])
def test_where_no_part_can_be_gone_on_with_the_client_brings_all(server: Hub, tmp_path, monkeypatch, why):
    left = part(server, tmp_path, BIG[:1000])
    if why == "the size is not told":
        server.tells_size = False
    elif why == "locks do nothing":
        monkeypatch.setattr("fcntl.flock", lambda *_: None)
        others = left.with_name(f"{'a' * 40}.0123abcd.incomplete")
        others.touch()
    else:
        monkeypatch.setattr("huggingface_hub.constants.MAX_HTTP_DOWNLOAD_SIZE", len(BIG) - 1)
        monkeypatch.setattr("huggingface_hub.file_download.http_get", lambda url, file, **_: file.write(BIG))
    assert get().paths["weights.bin"].read_bytes() == BIG
    assert left.read_bytes() == BIG[:1000] and not any(server.ranges("weights.bin"))
    assert why != "locks do nothing" or others.exists(), "another call may be writing it"


def test_the_same_bytes_at_another_commit_are_not_fetched_again(server: Hub):
    server.push(REPO, {"weights.bin": BIG})
    get()
    server.push(REPO, {"weights.bin": BIG, "README.md": b"new"}, "refs/pr/1")
    assert get(revision="refs/pr/1").paths["weights.bin"].read_bytes() == BIG
    assert server.ranges("weights.bin") == [""]


def test_a_disk_without_links(server: Hub, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    server.push(REPO, {"weights.bin": BIG})
    for _ in range(2):
        path = get().paths["weights.bin"]
        assert path.read_bytes() == BIG and not path.is_symlink()
    assert server.ranges("weights.bin") == [""]


def test_a_name_that_leads_out_of_the_repository_is_refused(server: Hub):
    server.push(REPO, {"../weights.bin": b"abc"})
    with pytest.raises(UserError, match=r"a file '\.\./weights\.bin'.* which would leave its folder"):
        get("../weights.bin")


def test_a_call_that_gives_up_leaves_its_part(server: Hub, tmp_path, monkeypatch):
    left = part(server, tmp_path, b"")
    monkeypatch.setattr("time.sleep", lambda _: None)
    server.cut_after["weights.bin"] = [11 * 1024 * 1024] + [0] * 20
    with pytest.raises(UserError, match=r"could not be downloaded.*run the same command again; it goes on"):
        get()
    assert left.read_bytes() == BIG[: 10 * 1024 * 1024]
    server.cut_after.clear()
    assert get().paths["weights.bin"].read_bytes() == BIG
    assert server.ranges("weights.bin")[-1] == f"bytes={10 * 1024 * 1024}-"


def test_a_second_call_needs_no_network(server: Hub, monkeypatch):
    server.push(REPO, {"weights.bin": b"abc"})
    get()
    before = list(server.requests)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert get().paths["weights.bin"].read_bytes() == b"abc"
    assert server.requests == before


@pytest.mark.slow
def test_a_killed_download_ends_well(server: Hub, tmp_path):
    """kill -9 in the middle of a backbone's download; the same command then goes on and leaves nothing half-made."""
    server.push(REPO, {**tiny_checkpoint(tmp_path, d_ff=40_000), "padding.bin": b""})
    project(tmp_path)
    server.cut_after["model.safetensors"] = [11 * 1024 * 1024] + [0] * 50
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "dp", "fetch-backbone", "--backbone", "from-hub"]
    killed = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL)
    while len(server.ranges("model.safetensors")) < 2:
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    out = tmp_path / "results/download/backbones/from-hub"
    assert not (out / "record.json").exists() and not (out / "model.safetensors").exists()
    server.cut_after.clear()
    server.requests.clear()
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    assert {path.name for path in out.iterdir()} == {*backbones.FILES, "SHA256SUMS", "record.json"}
    assert server.ranges("model.safetensors") == [f"bytes={10 * 1024 * 1024}-"]
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    made = files.read_json(out / "record.json")["made"]
    assert made["commit"] == server.branches[REPO, "main"] and made["labels"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"revision": "mian"}, "no revision 'mian'"),
        ({"repo": "someone/else"}, "there is no someone/else"),
        ({"name": "absent.bin"}, "no file 'absent.bin'.*weights.bin"),
    ],
)
def test_what_the_hub_does_not_have(server: Hub, change, message):
    server.push(REPO, {"weights.bin": b"abc"})
    with pytest.raises(UserError, match=message):
        get(**change)


def test_no_network(server: Hub, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(UserError, match="Check the network"):
            get()


def test_task_rows_from_parquet(server: Hub):
    """MultiRC's flat rows: integer labels, ids from idx, in the hub's column order."""
    task, content = small_task(
        "multirc",
        train=[(0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 0, 0), (1, 0, 0, 1)],
        validation=[(0, 0, 0, 1), (0, 0, 1, 0)],
    )
    server.push("datasets/aps/super_glue", content, commit=task.sources.hub.revision)
    rows, facts = fetch.fetch(task, "hub", None)
    assert [row["id"] for row in rows["train"]] == ["train-0-0-0", "train-0-0-1", "train-0-1-0", "train-1-0-0"]
    assert [row["group"] for row in rows["train"]] == ["train-0-0", "train-0-0", "train-0-1", "train-1-0"]
    assert [row["label"] for row in rows["validation"]] == [1, 0]
    assert rows["train"][2]["fields"] == {"paragraph": "p0", "question": "q1", "answer": "a0"}
    assert facts["commit"] == server.branches["datasets/aps/super_glue", "main"]


def small_task(name: str, **splits: list[tuple[int, int, int, int]]) -> tuple[model.Task, dict[str, bytes]]:
    """A task that expects the given (paragraph, question, answer, label) rows, and its parquet files."""
    import pyarrow
    import pyarrow.parquet

    task = model.load(name)
    expected, content = {}, {}
    for split, rows in splits.items():
        labels = [row[3] for row in rows]
        expected[split] = {"rows": len(rows), "label_counts": [labels.count(0), labels.count(1)]}
        table = pyarrow.Table.from_pylist(
            [
                {
                    "paragraph": f"p{p}",
                    "question": f"q{q}",
                    "answer": f"a{a}",
                    "label": label,
                    "idx": {"paragraph": p, "question": q, "answer": a},
                }
                for p, q, a, label in rows
            ]
        )
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(table, buffer)
        content[task.sources.hub.files[split]] = buffer.getvalue()
    return model.Task.model_validate(task.model_dump() | {"expected": expected}), content


def definition(**source) -> BackboneEntry:
    return BackboneEntry.model_validate({"family": "seq2seq", "source": source})


TINY = {"kind": "random", "architecture": "t5", "tokenizer": {"kind": "words"},
        "shape": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2,
                  "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}}  # fmt: skip


def tiny_checkpoint(folder: Path, **shape: int) -> dict[str, bytes]:
    """The files of a tiny T5, as a repository would hold them."""
    made = folder / "tiny checkpoint"
    backbones.fetch(definition(**TINY | {"shape": TINY["shape"] | shape}), made)
    return {path.name: path.read_bytes() for path in made.iterdir()}


def project(folder: Path) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    source = {"kind": "hub", "repo": REPO, "revision": "main"}
    params["backbones"]["from-hub"] = {"family": "seq2seq", "source": source}
    params |= {"scale": "open"}
    files.write_text(folder / "params.yaml", yaml.safe_dump(params))
    scale = (ROOT / "workflow/scales/open.yaml").read_text()
    files.write_text(folder / "workflow/scales/open.yaml", scale)


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin", "shards"])
def test_backbone_from_the_hub(server: Hub, tmp_path, weights):
    """Whatever format the hub holds, the same tensors come out; only needed files are downloaded."""
    import torch
    from safetensors.torch import load, load_file

    content = tiny_checkpoint(tmp_path)
    tensors = load(content["model.safetensors"])
    assert not torch.equal(tensors["lm_head.weight"], tensors["shared.weight"])
    content["unrelated.msgpack"] = b"x" * 100
    if weights == "model.safetensors":
        content["pytorch_model.bin"] = b"never to be read"
    else:
        del content["model.safetensors"]
        published = tensors | {
            f"{part}.embed_tokens.weight": tensors["shared.weight"] for part in ("encoder", "decoder")
        }
        content |= pickled(published, shards=2 if weights == "shards" else 1)
    server.push(REPO, content)
    facts = backbones.fetch(definition(kind="hub", repo=REPO, revision="main"), tmp_path / "out")
    out = load_file(tmp_path / "out" / "model.safetensors")
    assert out.keys() == tensors.keys() and all(torch.equal(out[name], tensors[name]) for name in out)
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(backbones.FILES)
    assert not server.gets("unrelated.msgpack")
    assert bool(server.gets("pytorch_model.bin")) == (weights == "pytorch_model.bin")
    assert facts["parameters"] == sum(tensor.numel() for tensor in tensors.values())


def pickled(tensors: dict, shards: int) -> dict[str, bytes]:
    import json

    import torch

    names = sorted(tensors)
    content, index = {}, {}
    for shard in range(shards):
        file = "pytorch_model.bin" if shards == 1 else f"pytorch_model-{shard + 1:05}-of-{shards:05}.bin"
        buffer = io.BytesIO()
        torch.save({name: tensors[name] for name in names[shard::shards]}, buffer)
        content[file] = buffer.getvalue()
        index |= dict.fromkeys(names[shard::shards], file)
    if shards > 1:
        content["pytorch_model.bin.index.json"] = json.dumps({"metadata": {}, "weight_map": index}).encode()
    return content


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_is_more_than_tensors_is_refused_and_not_run(server: Hub, tmp_path, legacy):
    """In both formats of torch.save: what would run code on loading, and what is harmless and no checkpoint."""
    import torch

    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch '{tmp_path / 'ran'}'",))

    content = tiny_checkpoint(tmp_path)
    weight = torch.zeros(2)
    del content["model.safetensors"]
    for held, message in (
        (
            {"shared.weight": weight, "lm_head.weight": Evil()},
            r"more than tensors \(\w+\.system\), which could run code",
        ),
        ({"shared.weight": weight, "epoch": 3}, r"more than tensors \(epoch\)"),
        ({"state_dict": {"shared.weight": weight}}, r"more than tensors \(state_dict\)"),
        ([weight], r"more than tensors \(list\)"),
    ):
        buffer = io.BytesIO()
        torch.save(held, buffer, _use_new_zipfile_serialization=not legacy)
        server.push(REPO, content | {"pytorch_model.bin": buffer.getvalue()}, "a branch/of slashes")
        Path("workflow/hub.lock.yaml").unlink(missing_ok=True)
        wanted = definition(kind="hub", repo=REPO, revision="a branch/of slashes")
        with pytest.raises(UserError, match=rf"^pytorch_model\.bin: is a pickle that holds {message}"):
            backbones.fetch(wanted, tmp_path / "out")
    assert not (tmp_path / "ran").exists()
    torch.load(io.BytesIO(pickled({"a": Evil()}, 1)["pytorch_model.bin"]), weights_only=False)
    assert (tmp_path / "ran").exists(), "it was hostile"


def test_a_plan_asks_for_the_configuration_alone(server):
    config = T5Config(vocab_size=40, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_heads=2, decoder_start_token_id=0)
    content = {"config.json": config.to_json_string().encode(), "model.safetensors": b"weights"}
    server.push("who/knows", content)
    source = {"kind": "hub", "repo": "who/knows"}
    found = shape_of("mine", BackboneEntry.model_validate({"family": "seq2seq", "source": source}))
    assert (found.layers, found.hidden, found.vocabulary) == (4, 8, 40)
    assert server.gets("config.json") and not server.gets("model.safetensors")
    server.push("who/else", {"model.gguf": b"weights"})
    with pytest.raises(UserError, match="get it first: python -m dp fetch-backbone --backbone mine"):
        shape_of("mine", BackboneEntry.model_validate({"family": "causal", "source": source | {"repo": "who/else"}}))

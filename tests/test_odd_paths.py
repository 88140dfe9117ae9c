"""Projects, caches, temporary folders and backbones in folders whose names a library could take for something else."""

import tempfile

import pytest
from built_project import BIN, dvc, make, run, snakemake
from test_readers import ODD

from dp import files
from dp.backbones.definition import BackboneEntry
from dp.sources import weights as fetch

FEW = ["data[2]", "x {wildcards.task}", "50% #1", "back\\slash"]
NAMES = [pytest.param(name, marks=[] if name in FEW else [pytest.mark.exhaustive]) for name in ODD]
SHAPE = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}


def t5(**source):
    return BackboneEntry.model_validate({"family": "seq2seq", "source": source})


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_weights_come_from_the_folder_that_is_named(tmp_path, monkeypatch, name):
    for seed, folder in enumerate((name, ODD[name])):
        source = {"architecture": "t5", "shape": SHAPE, "tokenizer": {"kind": "words"}, "seed": seed}
        fetch.fetch(t5(kind="random", **source), tmp_path / folder / "made")
    monkeypatch.setenv("TMPDIR", str(tmp_path / name))
    monkeypatch.setattr(tempfile, "tempdir", None)
    fetch.fetch(t5(kind="folder", path=str(tmp_path / name / "made")), tmp_path / "out")
    digests = {one: files.sha256(tmp_path / one / "model.safetensors")
               for one in (f"{name}/made", f"{ODD[name]}/made", "out")}  # fmt: skip
    assert digests["out"] == digests[f"{name}/made"] != digests[f"{ODD[name]}/made"]


@pytest.mark.slow
def test_a_project_of_any_name_is_planned_and_begun(tmp_path):
    name = 'data[2] 50% #1 it\'s "his" *? Ünï 数据; a&b $HOME'
    root = make(tmp_path / name / "copy", variants="majority", seeds="0", steps=2)
    with tempfile.TemporaryDirectory(prefix="a[2] %*{b}'") as temporary:  # short: a socket lies in it
        more = {"TMPDIR": temporary, "DP_CACHE": str(tmp_path / name / "cache")}
        printed, status = snakemake(root, "--", "tokenize", **more)
    assert status == 0, printed
    assert (root / "results/tokenize/e2e/tiny-t5/toy/tokens/record.json").is_file()
    assert "tokenize" in dvc(root, "status", "--json")
    printed, _ = run(root, BIN / "python", "-m", "dp", "audit", "--json", check=False)
    assert "tampered" not in printed and "stale" not in printed


@pytest.mark.slow
def test_a_project_in_braces_is_refused_in_one_sentence(tmp_path):
    printed, status = snakemake(make(tmp_path / "a{b}" / "copy"), "-n")
    assert status != 0 and "Snakemake takes braces in a path for wildcards. Move the project" in printed
    assert "Traceback" not in printed

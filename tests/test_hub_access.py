"""Ways to the hub, and around it: the client's own cache, a token, a mirror behind a proxy, what a kill left."""

import select
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hub_server import Hub, serving
from huggingface_hub import close_session, hf_hub_download
from test_hub import REPO, get, locked, server  # noqa: F401  server is a fixture

from dp.errors import UserError
from dp.sources import hub
from dp.sources.hub_lock import LOCK

REVISION = "refs/pr/2"
CONTENT = {"config.json": b"{}", "pytorch_model.bin": b"weights", "README.md": b"nobody reads it"}
HELD = ("config.json", "pytorch_model.bin")


@pytest.fixture
def held(server: Hub, monkeypatch):  # noqa: F811
    """The commit of a revision that the hub's client has in its own cache; the server is asked no more."""
    commit = server.push(REPO, CONTENT, REVISION)
    for name in HELD:
        hf_hub_download(REPO, name, revision=REVISION, endpoint=server.url)
    server.requests.clear()
    return commit


def offline(monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def everything() -> hub.Fetched:
    return hub.obtain(REPO, REVISION, "model", lambda names: names)


def test_what_the_clients_cache_holds_needs_no_network(server: Hub, held, tmp_path, monkeypatch):  # noqa: F811
    offline(monkeypatch)
    fetched = everything()
    assert fetched.commit == held and {*fetched.paths} == {*HELD}
    assert all(path.read_bytes() == CONTENT[name] for name, path in fetched.paths.items())
    assert all(path.is_relative_to(tmp_path / "client") for path in fetched.paths.values())
    assert locked()[REPO][REVISION]["commit"] == held and not server.requests
    with pytest.raises(UserError, match=r"no file 'tokenizer\.json'"):
        get("tokenizer.json", REVISION)


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("linked", [True, False], ids=["by its name", "by the lock"])
def test_a_damaged_copy_in_the_clients_cache_is_no_copy(server: Hub, held, tmp_path, monkeypatch, name, linked):  # noqa: F811
    """It is verified by the digest that it is kept under; on a disk without links only the lock knows one."""
    (copy,) = (tmp_path / "client").rglob(f"snapshots/{held}/{name}")
    if linked:
        copy.resolve().write_bytes(b"damaged")
    else:
        good = copy.read_bytes()
        copy.unlink()
        copy.write_bytes(good)
    offline(monkeypatch)
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE is set.* lies verifiably in .*client.*bring one of the two"):
        everything()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert everything().paths[name].read_bytes() == CONTENT[name]
    shutil.rmtree(tmp_path / "cache")
    offline(monkeypatch)
    if linked:
        with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
            get(name, REVISION)
    else:
        assert get(name, REVISION).paths[name].read_bytes() == CONTENT[name]


def test_online_the_clients_cache_saves_a_download(server: Hub, held):  # noqa: F811
    assert everything().paths.keys() == CONTENT.keys()
    assert not any(server.gets(name) for name in HELD) and server.gets("README.md")


def test_another_commit_than_the_cached_one_is_not_taken_for_it(server: Hub, held, monkeypatch):  # noqa: F811
    """The lock goes before what the client last saw of a name that moves."""
    newer = server.push(REPO, CONTENT | {"config.json": b"{ }"}, REVISION)
    get("README.md", REVISION)
    offline(monkeypatch)
    with pytest.raises(UserError, match=rf"HF_HUB_OFFLINE is set.* \(commit {newer} by {LOCK}\)"):
        get("pytorch_model.bin", REVISION)


def test_offline_and_nowhere(server: Hub, monkeypatch):  # noqa: F811
    server.push(REPO, CONTENT)
    offline(monkeypatch)
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE is set, and not all that is needed of \S+@main lies"):
        get("config.json")
    assert not server.requests


@pytest.mark.parametrize("way", ["HF_TOKEN", "hf auth login"])
def test_a_gated_repository_wants_a_token(server: Hub, tmp_path, monkeypatch, way):  # noqa: F811
    server.push(REPO, CONTENT)
    server.tokens[REPO] = "hf_right"

    def give(token: str) -> None:
        if way == "HF_TOKEN":
            monkeypatch.setenv("HF_TOKEN", token)
        else:
            (tmp_path / "token").write_text(token)

    for token in (None, "hf_wrong"):
        if token:
            give(token)
        with pytest.raises(UserError, match=r"is gated\. Accept its terms .*`hf auth login` or in HF_TOKEN"):
            get("config.json")
    give("hf_right")
    assert get("pytorch_model.bin").paths["pytorch_model.bin"].read_bytes() == b"weights"
    assert not server.leaked


def test_what_no_call_can_go_on_with_is_removed(server: Hub, tmp_path):  # noqa: F811
    server.push(REPO, CONTENT)
    blobs = tmp_path / "cache/hub" / f"models--{REPO.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    others = tmp_path / "cache/hub/models--someone--other/blobs"
    others.mkdir(parents=True)
    left, resumable = f"{'a' * 40}.0123abcd.incomplete", f"{'b' * 64}.incomplete"
    for folder, name in ((blobs, left), (blobs, resumable), (others, left)):
        (folder / name).write_bytes(b"part")
    get("config.json")
    assert not (blobs / left).exists() and (blobs / resumable).exists() and (others / left).exists()


@contextmanager
def proxy(target: int) -> Iterator[tuple[str, list[str]]]:
    """A proxy that leads every tunnel to one port of this machine; its address, and what it was asked to reach."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_CONNECT(self) -> None:
            asked.append(self.path)
            with socket.create_connection(("127.0.0.1", target)) as there:
                self.send_response(200)
                self.end_headers()
                ends = {self.connection: there, there: self.connection}
                while ready := select.select(list(ends), [], [], 60)[0]:
                    for one in ready:
                        data = one.recv(65536)
                        if not data:
                            return
                        ends[one].sendall(data)

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}", asked
    finally:
        running.shutdown()
        running.server_close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the hub's certificate, is not here")
def test_a_mirror_behind_a_proxy(server: Hub, tmp_path, monkeypatch):  # noqa: F811
    """HF_ENDPOINT is a host that no name server knows: only the proxy of HTTPS_PROXY leads to it."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out",
                    certificate, "-subj", "/CN=mirror.invalid", "-addext",
                    "subjectAltName=DNS:mirror.invalid,DNS:storage.invalid"],
                   check=True, capture_output=True)  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.invalid")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(context) as mirror, proxy(mirror.port) as (address, asked):
        mirror.url, mirror.storage = "https://mirror.invalid", "https://storage.invalid"
        mirror.push(REPO, CONTENT)
        for variable in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.delenv(variable, raising=False)
        close_session()
        with pytest.raises(UserError, match="Check the network, HF_ENDPOINT and HTTPS_PROXY"):
            get("pytorch_model.bin")
        monkeypatch.setenv("HTTPS_PROXY", address)
        close_session()
        assert get("pytorch_model.bin").paths["pytorch_model.bin"].read_bytes() == b"weights"
        assert {*asked} == {"mirror.invalid:443", "storage.invalid:443"}
    close_session()

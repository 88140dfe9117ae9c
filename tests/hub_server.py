"""A small hub on loopback: the part of the hub's HTTP interface that dp.sources.hub needs, and its misbehaviours."""

import hashlib
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """`commits`: (key, commit) -> files; `branches`: (key, branch) -> commit. A dataset's key is datasets/<repo>."""

    url: str = ""
    port: int = 0
    storage: str = ""
    """the other host, which large files are fetched from"""
    commits: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    branches: dict[tuple[str, str], str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    """file -> for each coming GET, after how many bytes the connection is cut"""
    corrupt: set[str] = field(default_factory=set)
    """files served with one wrong byte"""
    tokens: dict[str, str] = field(default_factory=dict)
    """key of a gated repository -> the token that admits to it"""
    leaked: list[str] = field(default_factory=list)
    """tokens that were sent to the other host"""
    whole: bool = False
    """whether a wish for the rest of a file is answered with all of it"""
    tells_size: bool = True
    """whether it says how large a large file is before it is asked for"""
    answers: dict[str, list[int]] = field(default_factory=dict)
    """HEAD, GET or `GET storage` -> statuses that the coming ones are answered with, and nothing else; 0: as ever"""

    def push(self, repo: str, files: dict[str, bytes], branch: str = "main", commit: str | None = None) -> str:
        """branch: or a pull request, as refs/pr/2. commit: other than the one that the content makes."""
        content = repr(sorted((name, hashlib.sha1(data).hexdigest()) for name, data in files.items()))
        commit = commit or hashlib.sha1(content.encode()).hexdigest()
        self.commits[repo, commit] = files
        self.branches[repo, branch] = commit
        return commit

    def gets(self, file: str) -> list[str]:
        return [line for line in self.requests if line.startswith("GET") and line.split()[1].endswith("/" + file)]

    def ranges(self, file: str) -> list[str]:
        """Of each GET of a large file's bytes, which of them were asked for."""
        return [line.split(" ")[2] for line in self.gets(file) if line.startswith("GET /storage/")]


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Hub]:
    """context: to speak https."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = urlsplit(self.path).path
            hub.requests.append(f"{self.command} {unquote(path)} {self.headers.get('Range', '')}")
            kind = f"{self.command} storage" if path.startswith("/storage/") else self.command
            statuses = hub.answers.get(kind)
            if statuses and (status := statuses.pop(0)):
                self.send(status, b"a page of nobody's", {}, body)
                return
            # A revision is one part of the path, its slashes quoted: refs%2Fpr%2F2
            if api := re.fullmatch(r"/api/(models|datasets)/(.+?)/revision/([^/]+)", path):
                self.info(api[1], *map(unquote, api.groups()[1:]), body)
            elif resolve := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
                self.file(*map(unquote, resolve.groups()), body)
            elif stored := re.fullmatch(r"/storage/(.+?)/([0-9a-f]{40})/(.+)", path):
                hub.leaked += filter(None, [self.headers.get("Authorization")])
                self.bytes(hub.commits[stored[1], stored[2]][unquote(stored[3])], unquote(stored[3]), {}, body)
            else:
                self.refuse("RepoNotFound")

        def commit(self, key: str, revision: str) -> str | None:
            if not any(repo == key for repo, _ in hub.commits):
                self.refuse("RepoNotFound")
                return None
            if key in hub.tokens and self.headers.get("Authorization") != f"Bearer {hub.tokens[key]}":
                self.refuse("GatedRepo", status=401)
                return None
            commit = hub.branches.get((key, revision), revision)
            if (key, commit) not in hub.commits:
                self.refuse("RevisionNotFound")
                return None
            return commit

        def info(self, kind: str, repo: str, revision: str, body: bool) -> None:
            key = repo if kind == "models" else f"datasets/{repo}"
            if commit := self.commit(key, revision):
                siblings = [_sibling(name, data) for name, data in hub.commits[key, commit].items()]
                answer = {"id": repo, "sha": commit, "siblings": siblings, "private": False, "downloads": 0,
                          "likes": 0, "tags": [], "gated": False, "disabled": False}  # fmt: skip
                self.send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body)

        def file(self, key: str, revision: str, name: str, body: bool) -> None:
            commit = self.commit(key, revision)
            if commit is None:
                return
            data = hub.commits[key, commit].get(name)
            if data is None:
                self.refuse("EntryNotFound", {"X-Repo-Commit": commit})
                return
            sibling, headers = _sibling(name, data), {"X-Repo-Commit": commit}
            if large := sibling.get("lfs"):  # lies elsewhere, where no token is asked for
                moved = {"Location": f"{hub.storage}/storage/{key}/{commit}/{name}",
                         "X-Linked-ETag": f'"{large["sha256"]}"'}  # fmt: skip
                moved |= {"X-Linked-Size": str(len(data))} if hub.tells_size else {}
                self.send(302, b"", headers | moved, body)
            else:
                self.bytes(data, name, headers | {"ETag": f'"{sibling["blobId"]}"'}, body)

        def bytes(self, data: bytes, name: str, headers: dict[str, str], body: bool) -> None:
            if name in hub.corrupt:
                data = data[:-1] + bytes([data[-1] ^ 1])
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted and not hub.whole else 0
            if start >= len(data) > 0:
                self.send(416, b"", headers | {"Content-Range": f"bytes */{len(data)}"}, body)
                return
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            cuts = hub.cut_after.get(name, [])
            self.send(206 if start else 200, data[start:], headers, body, cuts.pop(0) if body and cuts else None)

        def refuse(self, code: str, headers: dict[str, str] | None = None, status: int = 404) -> None:
            self.send(status, b"{}", {"X-Error-Code": code, **(headers or {})}, self.command == "GET")

        def send(self, status: int, data: bytes, headers: dict[str, str], body: bool, cut: int | None = None) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(data)), "Accept-Ranges": "bytes"} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data[:cut])
            if cut is not None:
                self.close_connection = True
                self.connection.shutdown(2)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    hub.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url, hub.storage = (f"http://{host}:{server.server_port}" for host in ("127.0.0.1", "localhost"))
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _sibling(name: str, data: bytes) -> dict[str, Any]:
    """Large binary files are announced by sha256, small text files by git's blob id, as on the real hub."""
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    sibling: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob}
    if name.endswith((".parquet", ".safetensors", ".bin", ".model", ".h5")):
        sibling["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return sibling

"""A small hub on loopback: the part of the hub's HTTP interface that dp.sources.hub needs, and its misbehaviours."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """`commits`: (key, commit) -> files; `branches`: (key, branch) -> commit. A dataset's key is datasets/<repo>."""

    url: str = ""
    commits: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    branches: dict[tuple[str, str], str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    """file -> for each coming GET, after how many bytes the connection is cut"""
    corrupt: set[str] = field(default_factory=set)
    """files served with one wrong byte"""

    def push(self, repo: str, files: dict[str, bytes], branch: str = "main") -> str:
        content = repr(sorted((name, hashlib.sha1(data).hexdigest()) for name, data in files.items()))
        commit = hashlib.sha1(content.encode()).hexdigest()
        self.commits[repo, commit] = files
        self.branches[repo, branch] = commit
        return commit

    def gets(self, file: str) -> list[str]:
        return [line for line in self.requests if line.startswith("GET") and line.split()[1].endswith("/" + file)]


@contextmanager
def serving() -> Iterator[Hub]:
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
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}")
            if api := re.fullmatch(r"/api/(models|datasets)/(.+?)/revision/(.+)", path):
                self.info(api[1], api[2], api[3], body)
            elif resolve := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
                self.file(resolve[1], resolve[2], resolve[3], body)
            else:
                self.refuse("RepoNotFound")

        def commit(self, key: str, revision: str) -> str | None:
            if not any(repo == key for repo, _ in hub.commits):
                self.refuse("RepoNotFound")
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
            headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": commit}
            if name in hub.corrupt:
                data = data[:-1] + bytes([data[-1] ^ 1])
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted else 0
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            cuts = hub.cut_after.get(name, [])
            self.send(206 if start else 200, data[start:], headers, body, cuts.pop(0) if body and cuts else None)

        def refuse(self, code: str, headers: dict[str, str] | None = None) -> None:
            self.send(404, b"{}", {"X-Error-Code": code, **(headers or {})}, self.command == "GET")

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
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _sibling(name: str, data: bytes) -> dict[str, object]:
    """Large binary files are announced by sha256, small text files by git's blob id, as on the real hub."""
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    sibling: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": blob}
    if name.endswith((".parquet", ".safetensors", ".bin")):
        sibling["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return sibling

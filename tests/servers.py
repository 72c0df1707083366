"""Web servers on this machine: any, and one that speaks the few requests of the hub's client that are needed here.

Those are to make a repository, ask how to send files, commit them inline, list files and resolve them. It is not the
real hub: large files, which the real one takes by another way, are not tested.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WAIT_SECONDS = 120


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    """Let a server answer for the time of a block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(WAIT_SECONDS)


class Server(ThreadingHTTPServer):
    """A web server on 127.0.0.1 that remembers what was asked for."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.requests: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *args: object) -> None:
        pass  # a client that was killed


class Handler(BaseHTTPRequestHandler):
    """Answers in one go, and says nothing about it."""

    def answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


class HubHandler(Handler):
    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.server.requests.append(f"POST {path}")
        if self.headers.get("Authorization") != "Bearer hf_fake":
            return self.tell({"error": "Invalid credentials"}, 401, {"X-Error-Message": "Invalid credentials"})
        if path == "/api/repos/create":
            made = {"url": f"{self.server.address}/datasets/owner/name"}
            return self.tell(made, 409 if self.server.commits else 200)
        if path == "/api/validate-yaml":
            return self.tell({"errors": [], "warnings": []})
        if path == "/api/datasets/owner/name/preupload/main":
            files = [file["path"] for file in json.loads(content)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in files]
            return self.tell({"files": modes})
        if path == "/api/datasets/owner/name/commit/main":
            return self.commit([json.loads(line) for line in content.splitlines()])
        return self.tell({}, 404, {"X-Error-Code": "RepoNotFound"})

    def commit(self, lines: list[dict]) -> None:
        values = [line["value"] for line in lines if line["key"] == "file"]
        files = {value["path"]: base64.b64decode(value["content"]) for value in values}
        oid = sha1(repr(sorted(files.items())).encode())
        self.server.commits[oid] = files
        self.tell({"commitUrl": f"{self.server.address}/datasets/owner/name/commit/{oid}", "commitOid": oid})

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        asked = re.fullmatch(r"(/api)?/datasets/owner/name(?:/(revision|tree|resolve)/([^/]+)(?:/(.+))?)?", path)
        if asked is None:
            return self.refuse("RepoNotFound")
        api, _, revision, name = asked.groups(default="")
        commit = list(self.server.commits)[-1] if revision in ("", "main") else revision
        if commit not in self.server.commits:
            return self.refuse("RevisionNotFound")
        files = self.server.commits[commit]
        if "/tree/" in path:
            return self.tell([{"type": "file", "path": f, "size": len(c), "oid": sha1(c)} for f, c in files.items()])
        if api:
            return self.tell({"id": "owner/name", "sha": commit, "siblings": [{"rfilename": file} for file in files]})
        if name not in files:
            return self.refuse("EntryNotFound", {"X-Repo-Commit": commit})
        return self.answer(200, files[name], {"X-Repo-Commit": commit, "ETag": f'"{sha1(files[name])}"'})

    do_HEAD = do_GET  # noqa: N815

    def tell(self, facts: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.answer(status, json.dumps(facts).encode(), {"Content-Type": "application/json", **(headers or {})})

    def refuse(self, code: str, headers: dict[str, str] | None = None) -> None:
        self.answer(404, headers={"X-Error-Code": code, "X-Error-Message": f"{code} here", **(headers or {})})

    def end_headers(self) -> None:
        self.send_header("Connection", "close")
        super().end_headers()


class Hub(Server):
    """One repository, owner/name; branch main is the last of `commits`. `folder` is for the caches of its clients."""

    def __init__(self, folder: Path) -> None:
        super().__init__(HubHandler)
        self.folder = folder
        self.commits: dict[str, dict[str, bytes]] = {}

    @property
    def downloads(self) -> list[str]:
        return [request for request in self.requests if request.startswith("GET /datasets")]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python in a new process, since the hub's client reads its settings on import."""
        own = {"HF_ENDPOINT": self.address, "HF_HOME": str(self.folder / "hf"), "HF_HUB_DISABLE_XET": "1"}
        own |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_TOKEN": "hf_fake"}
        own |= {"NASBENCH_ROBUST_HOME": str(self.folder / "home"), **environment}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=inherited | own, capture_output=True, text=True, timeout=WAIT_SECONDS)

    def answers(self, program: str, *sources: str, **environment: str) -> list[object]:
        """Return what a program says about sources, a line of JSON about each."""
        done = self.run("-c", program, *sources, **environment)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


def sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()

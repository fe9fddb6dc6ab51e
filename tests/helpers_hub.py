"""Stand-ins for the Hugging Face hub: its cache as the client leaves it, and a server that speaks enough of its API."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from fixtures.hub import HubFiles

COMMIT = "f" * 40  # of a data set that is asked for without a revision
# For a client of `serve`: the server may be kept waiting by a busy machine, and is behind no proxy.
PATIENT = {"HF_HUB_ETAG_TIMEOUT": "300", "HF_HUB_DOWNLOAD_TIMEOUT": "300", "NO_PROXY": "*", "no_proxy": "*"}


def fill_cache(folder: Path, data: HubFiles, path: str, content: bytes) -> Path:
    """Puts a file of a data set into the cache below ``folder`` at its pinned revision."""
    repository = folder / f"datasets--{data.repo.replace('/', '--')}"
    file = repository / "snapshots" / data.revision / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


@contextlib.contextmanager
def serve(root: Path, gated: str = "") -> Iterator[tuple[str, list[int]]]:
    """Serves ``root/<owner>/<name>/<file>`` as data sets; yields the endpoint and the sizes of what is sent of files.

    ``gated`` is a data set that is answered with 403.
    """
    sent: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(self.path).split("?")[0]
            found = re.fullmatch(r"/(?:api/)?datasets/([\w.-]+/[\w.-]+)(?:/(revision|tree|resolve)/(\w+)/?(.*))?", path)
            repo, what, commit, rest = found.groups() if found else ("", "", "", "")
            if repo and repo == gated:
                self.answer(b'{"error": "restricted"}', 403, {"X-Error-Code": "GatedRepo"})
            elif not repo or not (root / repo).is_dir():
                self.answer(b'{"error": "not found"}', 404, {"X-Error-Code": "RepoNotFound"})
            elif what in (None, "revision"):
                names = [{"rfilename": entry["path"]} for entry in self.entries(root / repo, "", "**/*")]
                card = {"license": "mit"}
                info = {"id": repo, "sha": commit or COMMIT, "siblings": names, "cardData": card}
                self.answer(json.dumps(info).encode())
            elif what == "tree" and (root / repo / rest).is_dir():
                pattern = "**/*" if "recursive=true" in self.path.lower() else "*"
                self.answer(json.dumps(self.entries(root / repo, rest, pattern)).encode())
            elif what == "resolve" and (root / repo / rest).is_file():
                self.file((root / repo / rest).read_bytes(), commit)
            else:
                self.answer(b'{"error": "not found"}', 404, {"X-Error-Code": "EntryNotFound"})

        def entries(self, repository: Path, folder: str, pattern: str) -> list[dict]:
            paths = sorted((repository / folder).glob(pattern))
            return [
                {
                    "type": "file" if path.is_file() else "directory",
                    "path": str(path.relative_to(repository)),
                    "size": path.stat().st_size,
                    "oid": "0" * 40,
                }
                for path in paths
            ]

        def file(self, data: bytes, commit: str) -> None:
            tag = hashlib.sha256(data).hexdigest()[:40]  # the client keeps files of one tag once
            headers = {"X-Repo-Commit": commit, "ETag": f'"{tag}"', "Accept-Ranges": "bytes"}
            span = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            status = 206 if span else 200
            if span:
                start, end = int(span[1]), min(int(span[2] or len(data)), len(data) - 1)
                headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
                data = data[start : end + 1]
            sent.append(len(data))
            self.answer(data, status, headers)

        def answer(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                # The client hangs up when it has read enough.
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", sent
    finally:
        server.shutdown()
        server.server_close()

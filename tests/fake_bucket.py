"""A server that answers as Google Cloud Storage does, so far as the program's libraries ask.

TensorFlow, TensorStore (by which Orbax writes) and google-cloud-storage speak to it. The files of
one bucket are held in memory. TensorFlow only asks `www.googleapis.com` and
`storage.googleapis.com`, so the server is also an HTTPS proxy, which answers for them by a
certificate of its own.
"""

import contextlib
import email
import json
import os
import re
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import trustme

BUCKET = "bucket"
_HOSTS = ("www.googleapis.com", "storage.googleapis.com")


class FakeBucket(ThreadingHTTPServer):
    """The bucket `BUCKET`.

    Attributes:
        files: name → contents.
        generations: name → number of the writing.
        refused: (method, name) → the status that answers a request instead of what it asks for; 0
            for none. It is called before anything is written.
        environment: variables with which a program finds the bucket.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.generations: dict[str, int] = {}
        self.refused = lambda method, name: 0
        self.lock = threading.Lock()
        self.uploads: dict[str, tuple[str, bytearray]] = {}
        authority = trustme.CA()
        self.certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*_HOSTS).configure_cert(self.certificate)
        authority.cert_pem.write_to_path(folder / "authority.pem")
        self.environment = {
            "CURL_CA_BUNDLE": str(folder / "authority.pem"),
            "NO_GCE_CHECK": "true",
            "http_proxy": self.url,
            "https_proxy": self.url,
            "no_proxy": "127.0.0.1,localhost",
            "JAX_PLATFORMS": "cpu",
            "STORAGE_EMULATOR_HOST": self.url,
            "TENSORSTORE_GCS_HTTP_URL": self.url,
        }

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Lets clients go that were killed, and prints other errors."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def write(self, name: str, content: bytes) -> None:
        """Writes a file; the caller holds the lock, or nobody else writes."""
        self.files[name] = content
        self.generations[name] = time.time_ns() // 1000


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[FakeBucket]:
    """Serves an empty bucket; its certificate is written to `folder`."""
    server = FakeBucket(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeBucket

    def log_message(self, format: str, *args: Any) -> None:
        if log := os.environ.get("FAKE_BUCKET_LOG"):
            with open(log, "a") as file:
                file.write(f"{format % args}\n")

    def do_CONNECT(self) -> None:
        """From here on the client speaks TLS, to one of `_HOSTS`."""
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.certificate.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(parts.query, True).items()}
        self.body = self._read_body()
        path = parts.path
        objects = f"/storage/v1/b/{BUCKET}/o"
        with self.server.lock:
            if path in (f"/storage/v1/b/{BUCKET}", f"/b/{BUCKET}"):
                self._json({"kind": "storage#bucket", "name": BUCKET, "location": "US"})
            elif path == f"/storage/v1/b/{BUCKET}/storageLayout":
                self._json({"bucket": BUCKET, "hierarchicalNamespace": {"enabled": False}})
            elif path == objects:
                self._list()
            elif copied := re.fullmatch(rf"{objects}/(.+)/rewriteTo/b/{BUCKET}/o/(.+)", path):
                self._rewrite(*map(unquote, copied.groups()))
            elif path.startswith(f"{objects}/"):
                name = unquote(path.removeprefix(f"{objects}/"))
                if self.command == "DELETE":
                    self._delete(name)
                elif self.query.get("alt") == "media":
                    self._download(name)
                else:
                    self._describe(name)
            elif path == f"/upload{objects}":
                self._upload()
            elif path.startswith((f"/{BUCKET}/", f"/download{objects}/")):
                self._download(unquote(re.sub(rf"^(/download{objects}|/{BUCKET})/", "", path)))
            else:
                self._json({"error": {"code": 404, "message": "no such bucket"}}, 404)

    def _list(self) -> None:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        after = self.query.get("pageToken", "")
        names, prefixes = [], set()
        for name in sorted(self.server.files):
            if not name.startswith(prefix) or name < self.query.get("startOffset", ""):
                continue
            rest = name.removeprefix(prefix)
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest.split(delimiter)[0] + delimiter)
            elif name > after:
                names.append(name)
        most = int(self.query.get("maxResults", 1000))
        page = {"kind": "storage#objects"}
        if names[:most]:
            page["items"] = [self._facts(name) for name in names[:most]]
        if prefixes and not after:
            page["prefixes"] = sorted(prefixes)
        if names[most:]:
            page["nextPageToken"] = names[most - 1]
        self._json(page)

    def _facts(self, name: str) -> dict[str, Any]:
        generation = self.server.generations[name]
        written = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(generation // 10**6))
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": BUCKET,
            "size": str(len(self.server.files[name])),
            "generation": str(generation),
            "metageneration": "1",
            "updated": f"{written}.000Z",
            "timeCreated": f"{written}.000Z",
        }

    def _refused(self, name: str) -> bool:
        status = self.server.refused(self.command, name)
        if status:
            self._json({"error": {"code": status, "message": "refused"}}, status)
        return bool(status)

    def _missing(self, name: str) -> bool:
        if self._refused(name):
            return True
        if name not in self.server.files:
            self._json({"error": {"code": 404, "message": "Not Found"}}, 404)
            return True
        return False

    def _condition_fails(self, name: str) -> bool:
        generation = self.server.generations.get(name, 0)
        same, other = self.query.get("ifGenerationMatch"), self.query.get("ifGenerationNotMatch")
        status = (same is not None and int(same) != generation and 412) or (
            other is not None and int(other) == generation and 304
        )
        if status:
            self._answer(b"", status)
        return bool(status)

    def _describe(self, name: str) -> None:
        if not self._missing(name) and not self._condition_fails(name):
            self._json(self._facts(name))

    def _delete(self, name: str) -> None:
        if not self._missing(name) and not self._condition_fails(name):
            del self.server.files[name], self.server.generations[name]
            self._answer(b"", 204)

    def _rewrite(self, source: str, target: str) -> None:
        if not self._missing(source) and not self._refused(target):
            self.server.write(target, self.server.files[source])
            size = str(len(self.server.files[target]))
            self._json(
                {
                    "kind": "storage#rewriteResponse",
                    "done": True,
                    "totalBytesRewritten": size,
                    "objectSize": size,
                    "resource": self._facts(target),
                }
            )

    def _download(self, name: str) -> None:
        if self._missing(name) or self._condition_fails(name):
            return
        content = self.server.files[name]
        headers = {"x-goog-generation": str(self.server.generations[name])}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            self._answer(content, 200, headers)
            return
        start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
        end = min(end, len(content) - 1)
        if start >= len(content):
            self._answer(b"", 416, headers)
            return
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        self._answer(content[start : end + 1], 206, headers)

    def _upload(self) -> None:
        if place := self.query.get("upload_id"):
            self._continue(place)
            return
        kind, name = self.query.get("uploadType"), self.query.get("name", "")
        content = self.body
        if kind == "multipart":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            facts, part = email.message_from_bytes(head + self.body).get_payload()
            name = name or json.loads(facts.get_payload())["name"]
            content = part.get_payload(decode=True)
        elif kind == "resumable":
            name = name or json.loads(self.body)["name"]
        if self._refused(name) or self._condition_fails(name):
            return
        if kind == "resumable":
            place = os.urandom(8).hex()
            self.server.uploads[place] = name, bytearray()
            target = f"{self.server.url}/upload/storage/v1/b/{BUCKET}/o?upload_id={place}"
            self._answer(b"", 200, {"Location": target})
            return
        self.server.write(name, content)
        self._json(self._facts(name))

    def _continue(self, place: str) -> None:
        """A part of a resumable upload, or a question how much of it has arrived."""
        name, content = self.server.uploads[place]
        if self._refused(name):
            return
        content += self.body
        total = self.headers.get("Content-Range", "*/*").rpartition("/")[2]
        if total in ("*", str(len(content))):
            self.server.write(name, bytes(content))
            self._json(self._facts(name))
        else:
            received = {"Range": f"bytes=0-{len(content) - 1}"} if content else {}
            self._answer(b"", 308, received)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _json(self, content: dict[str, Any], status: int = 200) -> None:
        kind = {"Content-Type": "application/json"}
        self._answer(json.dumps(content).encode(), status, kind)

    def _answer(self, content: bytes, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if content and status not in (204, 304):
            self.wfile.write(content)

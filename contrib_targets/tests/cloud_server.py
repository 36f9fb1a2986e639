"""A developer cloud on this computer: the sign-on page, files and benchmarks, as they behave well or badly."""

import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .vendor_tool import INFO

PASSWORD = "right&secret"
INFO_ON_BOARD = json.loads(json.dumps(INFO))
INFO_ON_BOARD["graphs"][0]["exec_time"] = {"cycles": 198_052_000, "duration_ms": 495.13, "cycles_by_macc": 3.1}
RESULT = {
    "state": "done",
    "benchmark": {"info": INFO_ON_BOARD, "report": {}, "graph": {}},
    "memoryMapping": {
        "memoryFootprint": None,
        "layersInInternalFlash": ["conv2d_0_weights"],
        "layersInExternalFlash": ["gemm_1_weights"],
        "useExternalRam": True,
        "useExternalFlash": True,
    },
}
LINUX_RESULT = {
    "state": "done",
    "benchmark": {
        "board": "STM32MP257F-EV1",
        "date": "2026-01-01",
        "exec_time": {"duration_ms": 6.5, "npu_percent": 90, "gpu_percent": 8, "cpu_percent": 2},
        "model_size": 2048,
        "ram_peak": 10240,
        "tool_version": {"name": "ST Edge AI Core", "major": 2, "minor": 0, "micro": 0},
    },
}
LOGIN_PAGE = """<html><head><script>if (1 < 2) { "form" }</script></head><body>
<form action="/search"><input type="text" name="q"><input type="hidden" name="lt" value="not this"></form>
<form method="post" action="/as/login?x=1&amp;y=2"><input name="username"><input type="password" name="password">
<input type="hidden" name="lt" value="LT-42"></form></body></html>"""
WRONG_PAGE = "<html><style>.locked {}</style><body><p>Incorrect password: 4 attempts left.</p></body></html>"


@dataclass
class Cloud:
    """State and behaviour of the server; a test changes the fields.

    Attributes:
        address: where it listens.
        seen: method and path of each request, in order.
        states: answers to questions for the state of a benchmark, one after the other; the last one stays.
        failures: by path, or method and path: status codes that are answered first, or "cut" for a cut connection.
        accepted: the token that is accepted.
    """

    address: str = ""
    seen: list[str] = field(default_factory=list)
    bodies: dict[str, Any] = field(default_factory=dict)
    states: list[dict[str, Any]] = field(default_factory=lambda: [RESULT])
    failures: dict[str, list[Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    accepted: str = "token-1"
    refreshable: bool = True
    passwords: list[str] = field(default_factory=list)
    login_page: str = LOGIN_PAGE
    wrong_page: str = WRONG_PAGE
    nested: bool = False
    answers: dict[str, Any] = field(default_factory=dict)
    versions: Any = field(
        default_factory=lambda: [
            {"version": "1.0.0", "isLatest": False, "platform": {}},
            {"version": "2.0.0", "isLatest": False, "platform": {}},
            {"version": "2.0.1", "isLatest": False, "platform": {}},
            {"version": "10.0.0", "isLatest": True, "platform": {}},
        ]
    )
    boards: Any = field(
        default_factory=lambda: {
            name: {"boardCount": 3, "flashSize": "2048", "deviceCpu": "Cortex-M7", "deviceId": "0x450"}
            for name in ("STM32H747I-DISCO", "STM32N6570-DK", "NUCLEO-N657X0-Q", "STM32MP257F-EV1")
        }
    )


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    cloud: Cloud

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""

    def _serve(self, method: str) -> None:
        cloud, parts = self.cloud, urlsplit(self.path)
        path = parts.path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        cloud.seen.append(f"{method} {path}")
        cloud.bodies[f"{method} {path}"] = body
        waiting = cloud.failures.get(path) or cloud.failures.get(f"{method} {path}")
        if waiting:
            failure = waiting.pop(0)
            if failure == "cut":
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            self._send(failure, {"message": "the server is unwell"})
            return
        if path in cloud.answers:
            self._send(200, cloud.answers[path])
            return
        needs_token = path.startswith("/api/") and "/user_service/" not in path
        if needs_token and self.headers.get("Authorization") != f"Bearer {cloud.accepted}":
            self._send(401, {"message": "token expired"})
            return
        self._route(method, path, parts.query, body)

    def _route(self, method: str, path: str, query: str, body: bytes) -> None:
        cloud = self.cloud
        form = {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}
        if path == "/as/authorization.oauth2":
            assert parse_qs(query)["redirect_uri"] == [f"{cloud.address}/callback"]
            self._send(200, cloud.login_page)
        elif path == "/as/login":
            cloud.passwords.append(form["password"])
            fine = form["password"] == PASSWORD and form["lt"] == "LT-42" and form["_eventId"] == "Login"
            if fine:
                self._redirect("/as/resume")
            else:
                self._send(200, cloud.wrong_page)
        elif path == "/as/resume":
            self._redirect(f"{cloud.address}/callback?code=C0DE&state=x")
        elif path == "/api/user_service/login/callback":
            assert form == {"redirect_url": f"{cloud.address}/callback", "code": "C0DE"}
            self._send(200, {"access_token": cloud.accepted, "refresh_token": "again", "expires_at": 4102444800})
        elif path == "/api/user_service/login/refresh":
            if cloud.refreshable:
                self._send(200, {"access_token": cloud.accepted, "expires_at": 4102444800000})
            else:
                self._send(401, {})
        elif path == "/assets/versions.json":
            self._send(200, cloud.versions)
        elif path == "/api/file/files/models" and method == "GET":
            self._send(200, [{"name": name} for name in cloud.files])
        elif path == "/api/file/files/models":
            name = body.split(b'filename="')[1].split(b'"')[0].decode()
            cloud.files[name] = body
            self._send(200, {"upload": True})
        elif path.startswith("/api/file/files/models/") and method == "DELETE":
            self._send(200, {"deleted": cloud.files.pop(path.rpartition("/")[2], None) is not None})
        elif path == "/api/benchmark/boards":
            self._send(200, cloud.boards)
        elif path == "/api/benchmark/api":
            properties = {"args": {}, "model": {}} if cloud.nested else {"model": {}, "optimization": {}}
            body_schema = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Start"}}}}
            self._send(
                200,
                {
                    "paths": {"/benchmark/{board}": {"post": {"requestBody": body_schema}}, "/boards": {"get": {}}},
                    "components": {"schemas": {"Start": {"properties": properties}}},
                },
            )
        elif method == "POST" and path.startswith("/api/benchmark/benchmark/"):
            self._send(200, {"benchmarkId": "b-7", "model": "m", "args": {}})
        elif path == "/api/benchmark/benchmark/b-7":
            self._send(200, cloud.states.pop(0) if len(cloud.states) > 1 else cloud.states[0])
        elif path == "/api/generate_nbg/optimize":
            self._send(200, {"runtimeId": "r-1"})
        elif path == "/api/generate_nbg/run/r-1":
            self._send(200, {"state": "done", "blobName": "converted.nb"})
        else:
            self._send(404, {"message": f"no {path}"})

    def _redirect(self, location: str) -> None:
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, status: int, content: Any) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def start_cloud() -> tuple[Cloud, ThreadingHTTPServer]:
    """A server on a free port of this computer."""
    cloud = Cloud()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneCloud", (Handler,), {"cloud": cloud}))
    server.daemon_threads = True
    cloud.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return cloud, server


class ProxyServer(ThreadingHTTPServer):
    """A proxy that tunnels every CONNECT to one port of this computer, and remembers the requests."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.port = port
        self.seen: list[str] = []


class _Tunnel(BaseHTTPRequestHandler):
    server: ProxyServer

    def do_CONNECT(self) -> None:
        self.server.seen.append(f"CONNECT {self.path}")
        with socket.create_connection(("127.0.0.1", self.server.port)) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pour, args=(there, self.connection), daemon=True)
            back.start()
            _pour(self.connection, there)
            back.join()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def start_proxy(port: int) -> ProxyServer:
    """A proxy on a free port of this computer, in front of another port."""
    proxy = ProxyServer(port)
    threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
    return proxy

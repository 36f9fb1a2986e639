"""Models that are named by their address."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reidfw_core.downloads import download, file_name_of, is_url, kept_download
from reidfw_core.errors import ServiceError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "my model.keras").write_bytes(b"content")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "served"))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def test_a_file_arrives_whole_under_its_name(server: str, tmp_path: Path) -> None:
    path = download(f"{server}/my%20model.keras?raw=true", tmp_path)
    assert path == tmp_path / "my model.keras"
    assert path.read_bytes() == b"content"


def test_a_missing_file_and_a_closed_port_are_service_errors(server: str, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"absent\.keras cannot be downloaded"):
        download(f"{server}/absent.keras", tmp_path)
    with pytest.raises(ServiceError, match="cannot be downloaded"):
        download("http://127.0.0.1:1/x.keras", tmp_path)
    assert not list(tmp_path.glob("*.keras"))


def test_addresses_are_told_from_files() -> None:
    assert is_url("https://example.org/m.keras")
    assert not is_url("C:/models/m.keras")
    assert file_name_of("https://example.org/a/m.keras?x=1") == "m.keras"


def test_weights_are_downloaded_once(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REIDFW_CACHE", str(tmp_path / "cache"))
    address = f"{server}/my%20model.keras"
    path = kept_download(address)
    assert path.read_bytes() == b"content"
    assert path.is_relative_to(tmp_path / "cache")
    (tmp_path / "served" / "my model.keras").unlink()
    assert kept_download(address) == path
    with pytest.raises(ServiceError):
        kept_download(f"{server}/other/my%20model.keras")

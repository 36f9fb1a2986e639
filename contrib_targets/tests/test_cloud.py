"""The developer cloud, end to end against a server on this computer: every step, and every fault, with its cause."""

import contextlib
import itertools
import json
import logging
import os
import ssl
import stat
import subprocess
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from reidfw_targets.board_tools import ToolSettings
from reidfw_targets.cloud import credentials as credentials_module
from reidfw_targets.cloud import service
from reidfw_targets.cloud import session as session_module
from reidfw_targets.cloud.credentials import Credentials, Token, TokenStore, find_credentials
from reidfw_targets.cloud.hosts import CloudHosts
from reidfw_targets.cloud.session import CloudSession
from reidfw_targets.cloud.tool import StEdgeAiCloud, _remote_name
from reidfw_targets.facts import BOARDS

from reidfw_core.api import BoardNotFound, ModelFile, ModelFormat, ReidfwError, ServiceError

from .cloud_server import LINUX_RESULT, PASSWORD, RESULT, Cloud, Handler, start_cloud, start_proxy

H747, N657 = BOARDS["STM32H747I-DISCO"], BOARDS["NUCLEO-N657X0-Q"]
LOGIN_POST = "POST /as/login"


@pytest.fixture(autouse=True)
def _quick_and_alone(monkeypatch, tmp_path):
    """Nobody's account, no waiting, no proxies."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("stmai_username", "stmai_password"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(session_module, "BACK_OFF_S", 0.001)
    monkeypatch.setattr(StEdgeAiCloud, "poll_s", 0.001)
    monkeypatch.setattr(credentials_module, "_from_keyring", lambda: None)
    monkeypatch.setattr(credentials_module, "_from_terminal", lambda: None)


@pytest.fixture
def cloud(monkeypatch):
    cloud, server = start_cloud()
    monkeypatch.setenv("BASE_URL_DEVCLOUD", cloud.address)
    monkeypatch.setenv("SSO_URL", cloud.address)
    yield cloud
    server.shutdown()
    server.server_close()


@pytest.fixture
def account(monkeypatch):
    monkeypatch.setenv("stmai_username", "me@example.org")
    monkeypatch.setenv("stmai_password", PASSWORD)


@pytest.fixture
def model(tmp_path) -> ModelFile:
    path = tmp_path / "my model.tflite"
    path.write_bytes(b"....TFL3")
    return ModelFile(path=path, format=ModelFormat("tflite"), name="my model", input_shape=(256, 128, 3))


@pytest.fixture
def work(tmp_path) -> Path:
    (tmp_path / "stm32ai_files").mkdir()
    return tmp_path / "stm32ai_files"


def tool_for(**options) -> StEdgeAiCloud:
    version = options.pop("version", None)
    return StEdgeAiCloud(ToolSettings(on_cloud=True, version=version), StEdgeAiCloud.Params(**options))


def started_with(cloud: Cloud, board: str = "stm32h747i-disco") -> dict:
    return json.loads(cloud.bodies[f"POST /api/benchmark/benchmark/{board}"])


# --- what works ---


@pytest.mark.usefixtures("account")
def test_a_benchmark(cloud, model, work, tmp_path, caplog):
    cloud.states = [
        {"state": "in_queue"},
        {"state": "building", "step": 1, "totalStep": 4, "progress": 25},
        {"state": "building", "step": 2, "totalStep": 4, "progress": 50},
        {"state": "validation"},
        RESULT,
    ]
    with caplog.at_level(logging.INFO):
        report = tool_for().benchmark(H747, model, work)
    assert (report.inference_ms, report.cycles, report.macs) == (495.13, 198_052_000, 3_000_000)
    assert (report.activations_ram_kib, report.weights_flash_kib) == (40.0, 20.0)
    assert (report.total_ram_kib, report.total_flash_kib) == (42.0, 31.0)
    assert report.tool == "ST Edge AI Core 10.0.0, developer cloud"
    assert (report.internal_flash_kib, report.external_flash_kib) == (8.0, 12.0)  # not swapped
    assert (report.internal_ram_kib, report.external_ram_kib) == (30960 / 1024, 10000 / 1024)
    assert report.labels == {"stm32ai_version": "10.0.0"}
    name = report.details["uploaded_as"]
    assert name.startswith("my_model_")
    assert list(cloud.files) == [name]
    assert b"....TFL3" in cloud.files[name]
    assert started_with(cloud) == {
        "model": name,
        "version": "10.0.0",
        "optimization": "balanced",
        "fromModel": "stmai_modelzoo_my_model_256_reidfw",
    }
    for shown in ("in the queue", "step 1 of 4", "step 2 of 4", "running on the board", "done"):
        assert shown in caplog.text
    assert json.loads((work / "cloud_benchmark.json").read_text()) == RESULT
    assert cloud.passwords == [PASSWORD]
    assert PASSWORD not in caplog.text
    token = tmp_path / ".stmai_token"
    assert json.loads(token.read_text())["access_token"] == "token-1"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


@pytest.mark.usefixtures("account")
def test_what_is_found_before_training(cloud):
    assert tool_for().find(H747) == "developer cloud, ST Edge AI Core 10.0.0, 3 of this board"
    assert not any(line.startswith("POST /api/file") for line in cloud.seen)


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(("wanted", "taken"), [("1.0.0", "1.0.0"), ("2.0", "2.0.1"), ("2", "2.0.1"), (None, "10.0.0")])
def test_the_version_is_honoured(cloud, model, work, wanted, taken):
    tool_for(version=wanted).benchmark(H747, model, work)
    assert started_with(cloud)["version"] == taken


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("wanted", ["3.0.0", "2.0.0.1", "1.0.0-5"])
def test_a_version_that_is_not_offered(cloud, wanted):
    with pytest.raises(ServiceError, match=f"does not offer version {wanted}") as caught:
        tool_for(version=wanted).find(H747)
    assert "10.0.0, 2.0.1, 2.0.0, 1.0.0" in caught.value.hint
    assert cloud.seen.count(LOGIN_POST) == 1


REAL_VERSIONS = [
    {
        "version": "4.0.1",
        "label": "ST Edge AI Core 4.0.1",
        "supportsNeuralArt": True,
        "isLatest": True,
        "platform": {"stm32": "12.0.1", "ispu": "2.0.1"},
        "edgeAiCore": True,
    },
    {
        "version": "2.2.0",
        "label": "ST Edge AI Core 2.2.0",
        "supportsNeuralArt": True,
        "platform": {"stm32mpu": "2.2.0", "stm32": "10.2.0"},
        "edgeAiCore": True,
    },
    {"version": "1.0.0", "supportsNeuralArt": False, "platform": {"stm32": "9.0.0"}, "edgeAiCore": True},
    {"version": "8.1.0", "label": "STM32Cube.AI 8.1.0", "platform": {"stm32": "8.1.0"}},
]
"""As the cloud lists them: the latest need not know every kind of board, and STM32Cube.AI had higher numbers."""


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("board", "wanted", "taken"),
    [
        ("STM32H747I-DISCO", None, "4.0.1"),
        ("STM32H747I-DISCO", "8.1", "8.1.0"),
        ("STM32N6570-DK", "2", "2.2.0"),
        ("STM32MP257F-EV1", None, "2.2.0"),
    ],
)
def test_the_version_serves_the_board(cloud, board, wanted, taken):
    cloud.versions = REAL_VERSIONS
    assert f"ST Edge AI Core {taken}, 3" in tool_for(version=wanted).find(BOARDS[board])
    cloud.versions = [{**one, "isLatest": False} for one in REAL_VERSIONS]
    assert f"ST Edge AI Core {taken}, 3" in tool_for(version=wanted).find(BOARDS[board])


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(("board", "wanted"), [("STM32MP257F-EV1", "4.0.1"), ("STM32N6570-DK", "1.0")])
def test_a_version_that_does_not_serve_the_board(cloud, board, wanted):
    cloud.versions = REAL_VERSIONS
    with pytest.raises(ServiceError, match=f"version {wanted} does not serve {board}") as caught:
        tool_for(version=wanted).find(BOARDS[board])
    assert "2.2.0" in caught.value.hint


@pytest.mark.usefixtures("account")
def test_progress_of_upload_queue_and_steps(cloud, model, work):
    model.path.write_bytes(b"x" * 200_000)
    cloud.failures["/api/file/files/models"] = []
    cloud.states = [
        {"state": "in_queue"},
        {"state": "building", "step": 1, "totalStep": 2, "progress": 25},
        {"state": "building", "step": 1, "totalStep": 2, "progress": 75},
        RESULT,
    ]
    told: list[tuple[str, int, str, list[int]]] = []

    @contextlib.contextmanager
    def progress(task, total, unit):
        told.append((task, total, unit, []))
        yield told[-1][3].append

    StEdgeAiCloud(ToolSettings(on_cloud=True), None, progress).benchmark(H747, model, work)
    upload, queue, building = told
    assert upload[0].startswith("Uploading my_model_")
    assert upload[1:3] == (200_000, "bytes")
    assert upload[3][-1] == 200_000
    assert len(upload[3]) > 2
    assert upload[3] == sorted(upload[3])
    assert queue == ("Developer cloud: in the queue for a board", 0, "s", [0])
    assert building == ("Developer cloud: building the firmware, step 1 of 2", 100, "%", [25, 75])


@pytest.mark.usefixtures("account")
def test_an_upload_that_is_repeated_is_whole(cloud, model, work):
    content = bytes(range(256)) * 1000
    model.path.write_bytes(content)
    cloud.failures["POST /api/file/files/models"] = [503]
    tool_for().benchmark(H747, model, work)
    assert cloud.seen.count("POST /api/file/files/models") == 2
    (body,) = cloud.files.values()
    assert content in body


@pytest.mark.usefixtures("account")
def test_what_a_dry_run_lists_is_what_is_sent(cloud, model, work):
    mp2 = BOARDS["STM32MP257F-EV1"]
    cloud.states = [LINUX_RESULT]
    tool = tool_for(delete_model=True, version="10.0.0")
    listed = tool.list_commands(mp2, model, work)
    assert cloud.seen == []
    tool.benchmark(mp2, model, work)
    for line in listed[1:]:  # the log-in is several requests
        method, address = line.argv[:2]
        path = address.removeprefix(cloud.address).replace("<id>", "b-7")
        assert f"{method} {path}" in cloud.seen or path == "/api/benchmark/boards", line
    start = next(line for line in listed if line.title == "Start the benchmark")
    sent = started_with(cloud, "mpu/stm32mp257f-ev1")
    assert json.loads(start.argv[2]) == {**sent, "model": listed[3].note.split()[1].rstrip(",")}


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("board", ["STM32N6570-DK", "NUCLEO-N657X0-Q"])
def test_both_npu_boards_are_asked_as_such(cloud, model, work, board):
    tool_for().benchmark(BOARDS[board], model, work)
    sent = started_with(cloud, board.lower())
    assert (sent["target"], sent["stNeuralArt"]) == ("stm32n6", "default")
    assert sent["atonnOptions"] == {"enable-epoch-controller": True}
    assert "optimization" not in sent


@pytest.mark.usefixtures("account")
def test_a_board_with_linux(cloud, model, work):
    cloud.states = [LINUX_RESULT]
    report = tool_for().benchmark(BOARDS["STM32MP257F-EV1"], model, work)
    sent = started_with(cloud, "mpu/stm32mp257f-ev1")
    assert sent == {"model": "converted.nb", "version": "10.0.0", "nbCores": 2, "engine": "hw_accelerator"}
    assert (report.inference_ms, report.total_ram_kib, report.weights_flash_kib) == (6.5, 10.0, 2.0)
    assert report.further_metrics == {
        "Model Size KiB": 2.0,
        "Peak Ram KiB": 10.0,
        "NPU usage": 90.0,
        "GPU usage": 8.0,
        "CPU usage": 2.0,
    }
    tool_for(convert_for_npu=False).benchmark(BOARDS["STM32MP257F-EV1"], model, work)
    assert started_with(cloud, "mpu/stm32mp257f-ev1")["model"].startswith("my_model_")


@pytest.mark.usefixtures("account")
def test_a_newer_interface_takes_the_arguments_as_one_text(cloud, model, work):
    cloud.nested = True
    tool_for().benchmark(H747, model, work)
    sent = started_with(cloud)
    assert set(sent) == {"model", "args"}
    assert json.loads(sent["args"])["optimization"] == "balanced"


@pytest.mark.usefixtures("account")
def test_the_model_is_uploaded_once_and_deleted_on_demand(cloud, model, work):
    upload = "POST /api/file/files/models"
    tool_for().benchmark(H747, model, work)
    tool_for(delete_model=True).benchmark(H747, model, work)
    assert cloud.seen.count(upload) == 1
    assert len(cloud.files) == 1  # it was there before: not ours to delete
    model.path.write_bytes(b"another")
    tool_for(delete_model=True).benchmark(H747, model, work)
    assert cloud.seen.count(upload) == 2
    assert len(cloud.files) == 1
    cloud.states = [{"state": "error", "message": "no"}]
    model.path.write_bytes(b"a third")
    with pytest.raises(ServiceError):
        tool_for(delete_model=True).benchmark(H747, model, work)
    assert len(cloud.files) == 1  # deleted also where the benchmark failed


@pytest.mark.usefixtures("account")
def test_a_model_that_stays_in_the_cloud_is_told(cloud, model, work, caplog):
    cloud.failures["/api/file/files/models/" + _remote_name(model.path)] = [403]
    report = tool_for(delete_model=True).benchmark(H747, model, work)
    assert report.inference_ms == 495.13
    assert report.details["model_deleted"] is False
    assert "is still in the developer cloud" in caplog.text


def test_the_kept_token_is_enough(cloud):
    TokenStore().save(Token("token-1", "again", 4102444800.0, server=cloud.address))
    tool_for().find(H747)
    assert LOGIN_POST not in cloud.seen


@pytest.mark.parametrize("expires_at", [0.0, None])
def test_an_expired_token_is_renewed_without_the_password(cloud, expires_at):
    TokenStore().save(Token("too old", "again", expires_at, server=cloud.address))
    tool_for().find(H747)
    assert LOGIN_POST not in cloud.seen
    assert cloud.seen.count("POST /api/user_service/login/refresh") == 1
    assert TokenStore().load().access == "token-1"
    assert TokenStore().load().refresh == "again"


@pytest.mark.usefixtures("account")
def test_a_token_that_cannot_be_renewed_costs_a_log_in(cloud):
    cloud.refreshable = False
    TokenStore().save(Token("too old", "again", 0.0, "me@example.org", cloud.address))
    tool_for().find(H747)
    assert cloud.passwords == [PASSWORD]


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("whose", "password"), [("Me@example.org", []), ("you@example.org", [PASSWORD]), (None, [PASSWORD])]
)
def test_the_environments_account_goes_before_a_kept_token(cloud, whose, password):
    TokenStore().save(Token("token-1", "again", 4102444800.0, whose, cloud.address))
    tool_for().find(H747)
    assert cloud.passwords == password
    assert TokenStore().load().account == (whose if not password else "me@example.org")


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("server", [None, "https://other.example"])
def test_a_token_of_another_server_is_not_sent(cloud, server):
    TokenStore().save(Token("of another", "again", None, "me@example.org", server))
    tool_for().find(H747)
    assert cloud.passwords == [PASSWORD]


def test_half_an_account_is_an_error_whatever_is_kept(cloud, monkeypatch):
    TokenStore().save(Token("token-1", "again", 4102444800.0, server=cloud.address))
    monkeypatch.setenv("stmai_username", "me@example.org")
    with pytest.raises(ServiceError, match="stmai_password is not"):
        tool_for().find(H747)
    assert cloud.seen == []


@pytest.mark.usefixtures("account")
def test_a_token_that_cannot_be_stored_serves_this_run(cloud, model, work, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    assert tool_for().benchmark(H747, model, work).inference_ms == 495.13
    assert cloud.passwords == [PASSWORD]
    assert "The token cannot be kept in" in caplog.text


@pytest.mark.parametrize("content", ["", "{", "[]", '{"access_token": 3}'])
@pytest.mark.usefixtures("account")
def test_a_damaged_token_file_costs_a_log_in(cloud, tmp_path, content):
    (tmp_path / ".stmai_token").write_text(content)
    tool_for().find(H747)
    assert cloud.passwords == [PASSWORD]


@pytest.mark.usefixtures("account")
def test_a_token_that_expires_while_waiting(cloud, model, work):
    waits = [{"state": "in_queue"}] * 3

    class Expiring(list):
        def pop(self, index):
            cloud.accepted = "token-2"
            return super().pop(index)

    cloud.states = Expiring([*waits, RESULT])
    assert tool_for().benchmark(H747, model, work).inference_ms == 495.13
    assert TokenStore().load().access == "token-2"


# --- what fails ---


def failing(work: Path, model: ModelFile, **options) -> str:
    """The message of a benchmark that must fail with exit code 3 and leave no result."""
    with pytest.raises(ReidfwError) as caught:
        tool_for(**options).benchmark(H747, model, work)
    assert caught.value.exit_code == 3
    assert not (work / "cloud_benchmark.json").exists()
    return f"{caught.value.message}\n{caught.value.hint}"


def test_no_account(cloud):
    with pytest.raises(ServiceError, match="needs an account") as caught:
        tool_for().find(H747)
    assert caught.value.exit_code == 3
    for way in ("stmai_username", "stmai_password", "keyring set", "terminal"):
        assert way in caught.value.hint
    assert LOGIN_POST not in cloud.seen


def test_half_an_account(cloud, monkeypatch):
    monkeypatch.setenv("stmai_password", PASSWORD)
    with pytest.raises(ServiceError, match="stmai_password is set, stmai_username is not"):
        tool_for().find(H747)
    assert cloud.seen == []


@pytest.mark.parametrize("prompted", [True, False])
def test_a_wrong_password_is_sent_once(cloud, monkeypatch, prompted):
    if prompted:
        monkeypatch.setattr(credentials_module, "_from_terminal", lambda: Credentials("me", "wrong", "terminal"))
    else:
        monkeypatch.setenv("stmai_username", "me")
        monkeypatch.setenv("stmai_password", "wrong")
    with pytest.raises(ServiceError, match=r"refused the log-in of me .*Incorrect password: 4 attempts left") as caught:
        tool_for().find(H747)
    assert cloud.passwords == ["wrong"]
    assert "wrong" not in caught.value.message.replace("Incorrect", "")
    assert not TokenStore().path.exists()


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<p>Your account is blocked.</p>", "Your account is blocked."),
        ("<p>Hello</p>", "it does not say why"),
    ],
)
def test_other_refusals(cloud, page, message):
    cloud.wrong_page, cloud.login_page = page, cloud.login_page.replace("LT-42", "LT-0")
    with pytest.raises(ServiceError, match=message):
        tool_for().find(H747)
    assert len(cloud.passwords) == 1


@pytest.mark.usefixtures("account")
def test_a_changed_log_in_page(cloud):
    cloud.login_page = "<html>Welcome to our new page</html>"
    with pytest.raises(ServiceError, match="holds no log-in form"):
        tool_for().find(H747)
    assert cloud.passwords == []


@pytest.mark.usefixtures("account")
def test_a_log_in_that_gives_no_token(cloud):
    cloud.answers["/api/user_service/login/callback"] = {"token": "t"}
    with pytest.raises(ServiceError, match=r"gave no access_token, but \['token'\]"):
        tool_for().find(H747)


@pytest.mark.usefixtures("account")
def test_errors_of_the_server_are_tried_again_and_then_told(cloud, model, work, caplog):
    boards = "/api/benchmark/boards"
    cloud.failures[boards] = [500, 503]
    tool_for().find(H747)
    assert cloud.seen.count(f"GET {boards}") == 3
    assert "answered with status 503; trying again" in caplog.text
    cloud.failures["/api/file/files/models"] = [500] * 99
    assert 'answered with status 500: {"message": "the server is unwell"}' in failing(work, model)
    assert cloud.seen.count("GET /api/file/files/models") == 5


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("status", [400, 403, 404, 429])
def test_other_errors_are_not_tried_again(cloud, model, work, status):
    cloud.failures["/api/file/files/models"] = [status]
    assert f"answered with status {status}" in failing(work, model)
    assert cloud.seen.count("GET /api/file/files/models") == 1


@pytest.mark.usefixtures("account")
def test_a_benchmark_is_never_started_twice(cloud, model, work):
    start = "/api/benchmark/benchmark/stm32h747i-disco"
    cloud.failures[start] = [500]
    assert "status 500" in failing(work, model)
    assert cloud.seen.count(f"POST {start}") == 1


@pytest.mark.usefixtures("account")
def test_the_password_is_not_sent_again_after_an_error_of_the_server(cloud):
    cloud.failures["/as/login"] = [500]
    with pytest.raises(ServiceError, match="ended with status 500"):
        tool_for().find(H747)
    assert cloud.seen.count(LOGIN_POST) == 1


@pytest.mark.usefixtures("account")
def test_a_token_that_is_never_accepted(cloud, model, work):
    cloud.failures["/api/file/files/models"] = [401, 401]
    assert "answered with status 401" in failing(work, model)
    assert len(cloud.passwords) == 1  # the second token came without the password


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("path", "times"), [("/as/login", 1), ("/api/file/files/models", 1), ("/api/benchmark/benchmark/b-7", 5)]
)
def test_a_cut_connection(cloud, model, work, path, times):
    cloud.failures[path] = ["cut"] * times
    message = failing(work, model)
    assert "The connection to 127.0.0.1 failed" in message
    assert "HTTPS_PROXY" in message


@pytest.mark.usefixtures("account")
def test_a_connection_cut_while_waiting_loses_nothing(cloud, model, work, caplog):
    cloud.failures["/api/benchmark/benchmark/b-7"] = ["cut", "cut", 503]
    assert tool_for().benchmark(H747, model, work).inference_ms == 495.13
    assert "failed: Server disconnected" in caplog.text


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(("state", "told"), [("cancelled", "was cancelled in"), ("failed", "failed in")])
def test_states_after_which_nothing_follows(cloud, model, work, state, told):
    cloud.states = [{"state": state, "message": "by an operator"}]
    assert f"Benchmark b-7 {told} the developer cloud: by an operator" in failing(work, model)


@pytest.mark.usefixtures("account")
def test_nobody_there(monkeypatch, model, work):
    for name in ("BASE_URL_DEVCLOUD", "SSO_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert "The connection to 127.0.0.1 failed" in failing(work, model)


@pytest.mark.usefixtures("account")
def test_no_answer_in_time(cloud, model, work, monkeypatch):
    monkeypatch.setattr(session_module, "TIMEOUT", 0.2)
    wait = threading.Event()
    serve = Handler._serve
    monkeypatch.setattr(
        Handler, "_serve", lambda self, method: wait.wait(5) if "models" in self.path else serve(self, method)
    )
    assert "127.0.0.1 did not answer in time" in failing(work, model)
    wait.set()


@pytest.mark.usefixtures("account")
def test_an_endless_queue(cloud, model, work):
    cloud.states = [{"state": "in_queue"}]
    message = failing(work, model, timeout_s=0.2)
    assert "Benchmark b-7 was given up: it has been in the queue for a board for 0.2 s" in message
    assert "tool_options.timeout_s" in message


@pytest.mark.usefixtures("account")
def test_time_counts_from_the_last_change(cloud, model, work, monkeypatch):
    now = itertools.count()  # seconds, one a question
    monkeypatch.setattr(service, "time", SimpleNamespace(monotonic=lambda: next(now) / 2, sleep=lambda _: None))
    names = ["in_queue", "building", "flashing", "validation"] * 4
    cloud.states = [*({"state": name} for name in names for _ in range(20)), RESULT]
    assert tool_for(timeout_s=25).benchmark(H747, model, work).inference_ms == 495.13
    cloud.states = [{"state": "in_queue"}] * 99
    assert "for 25 s" in failing(work.parent / "other", model, timeout_s=25)


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"state": "error", "message": "E103: RAM overflow"}, "failed in the developer cloud: E103: RAM overflow"),
        ({"state": "error"}, "it does not say why"),
        ({"status": "done"}, "has no 'state'"),
        ([1], "has no 'state'"),
        ({"state": "done"}, "has no 'benchmark', but state"),
        ({"state": "done", "benchmark": {"info": {}}}, "do not tell activations, weights, operations"),
        ({"state": "done", "benchmark": {"info": {"graphs": 3}}}, "cannot be read"),
        ({**RESULT, "memoryMapping": [1]}, "cannot be read"),
    ],
)
def test_failed_and_changed_results(cloud, model, work, answer, message):
    cloud.states = [answer]
    with pytest.raises(ServiceError, match=message) as caught:
        tool_for().benchmark(H747, model, work)
    assert caught.value.exit_code == 3


@pytest.mark.usefixtures("account")
def test_a_result_without_time_is_no_result(cloud, model, work):
    info = json.loads(json.dumps(RESULT["benchmark"]["info"]))
    info["graphs"][0]["exec_time"]["duration_ms"] = None
    cloud.states = [{**RESULT, "benchmark": {"info": info}}]
    with pytest.raises(ServiceError, match="has no inference time"):
        tool_for().benchmark(H747, model, work)


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("part", ["exec_time", "ram_peak"])
def test_a_changed_result_of_a_linux_board(cloud, model, work, part):
    cloud.states = [{"state": "done", "benchmark": {**LINUX_RESULT["benchmark"], part: None}}]
    with pytest.raises(ServiceError, match="has another form than known"):
        tool_for().benchmark(BOARDS["STM32MP257F-EV1"], model, work)


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/api/file/files/models", {"upload": False}, "did not take my_model_"),
        ("/api/benchmark/benchmark/stm32h747i-disco", {"errors": ["unknown option"]}, "refuses the benchmark"),
        ("/api/benchmark/benchmark/stm32h747i-disco", {"id": 3}, "has no 'benchmarkId'"),
        ("/assets/versions.json", {"versions": []}, "list of versions has an unknown form"),
        ("/assets/versions.json", "<html>maintenance</html>", "something that is no JSON"),
    ],
)
def test_changed_answers(cloud, model, work, path, answer, message):
    cloud.answers[path] = answer
    assert message in failing(work, model)


@pytest.mark.usefixtures("account")
def test_a_board_that_the_cloud_does_not_have(cloud):
    with pytest.raises(BoardNotFound, match="has no NUCLEO-F401RE") as caught:
        tool_for().find(BOARDS["NUCLEO-F401RE"])
    assert "NUCLEO-N657X0-Q" in caught.value.hint
    cloud.boards = ["a list"]
    with pytest.raises(ServiceError, match="list of boards has an unknown form"):
        tool_for().find(H747)


# --- nothing leaks ---


@pytest.mark.usefixtures("account")
def test_an_untrusted_certificate_is_refused_whatever_is_set(secure_cloud, monkeypatch):
    for name in ("BASE_URL_DEVCLOUD", "SSO_URL"):
        monkeypatch.setenv(name, f"https://127.0.0.1:{secure_cloud.server.server_port}")
    monkeypatch.setenv("NO_SSL_VERIFY", "1")
    monkeypatch.setenv("CURL_CA_BUNDLE", "")
    with pytest.raises(ServiceError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        tool_for().find(H747)
    assert "SSL_CERT_FILE" in caught.value.hint
    assert secure_cloud.cloud.seen == []


@pytest.mark.usefixtures("account")
def test_a_certificate_for_another_name_is_refused(secure_cloud, monkeypatch):
    for name in ("BASE_URL_DEVCLOUD", "SSO_URL"):
        monkeypatch.setenv(name, f"https://localhost:{secure_cloud.server.server_port}")
    monkeypatch.setenv("SSL_CERT_FILE", str(secure_cloud.authority))
    with pytest.raises(ServiceError, match="CERTIFICATE_VERIFY_FAILED"):
        tool_for().find(H747)
    assert secure_cloud.cloud.seen == []


@pytest.mark.parametrize("address", ["http://example.org", "ftp://127.0.0.1", "stedgeai-dc.st.com"])
def test_nothing_is_sent_unencrypted_to_another_computer(monkeypatch, address):
    monkeypatch.setenv("BASE_URL_DEVCLOUD", address)
    with pytest.raises(ServiceError, match="is not encrypted"):
        CloudHosts.from_environment()


def test_the_public_addresses():
    hosts = CloudHosts.from_environment({})
    assert hosts.benchmarks == "https://stedgeai-dc.st.com/api/benchmark"
    assert hosts.versions == "https://stedgeai-dc.st.com/assets/versions.json"
    assert hosts.sign_on == "https://sso.st.com"
    assert (
        CloudHosts.from_environment({"BENCHMARK_SERVICE_URL": "https://b.example/x/"}).benchmarks
        == "https://b.example/x"
    )


@pytest.fixture
def secure_cloud(monkeypatch, tmp_path):
    """The cloud at https://cloud.example, behind a proxy, and its authority's certificate in a file."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    cloud = Cloud(address="https://cloud.example")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Secure", (Handler,), {"cloud": cloud}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that does not trust it hangs up, as it should
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("cloud.example", "127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    proxy = start_proxy(server.server_port)
    for name in ("BASE_URL_DEVCLOUD", "SSO_URL"):
        monkeypatch.setenv(name, cloud.address)
    yield SimpleNamespace(cloud=cloud, server=server, proxy=proxy, authority=tmp_path / "authority.pem")
    for one in (server, proxy):
        one.shutdown()
        one.server_close()


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_is_used_and_sees_nothing(secure_cloud, monkeypatch, model, work, variable):
    monkeypatch.setenv(variable, f"http://127.0.0.1:{secure_cloud.proxy.server_port}")
    monkeypatch.setenv("SSL_CERT_FILE", str(secure_cloud.authority))
    assert tool_for().benchmark(H747, model, work).inference_ms == 495.13
    assert set(secure_cloud.proxy.seen) == {"CONNECT cloud.example:443"}
    assert secure_cloud.cloud.passwords == [PASSWORD]


@pytest.mark.usefixtures("account")
def test_a_proxy_does_not_weaken_the_certificate(secure_cloud, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{secure_cloud.proxy.server_port}")
    monkeypatch.setenv("NO_SSL_VERIFY", "1")
    with pytest.raises(ServiceError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        tool_for().find(H747)
    assert "SSL_CERT_FILE" in caught.value.hint
    assert secure_cloud.cloud.seen == []


@pytest.mark.usefixtures("account")
def test_no_proxy_is_honoured(secure_cloud, monkeypatch):
    direct = f"https://127.0.0.1:{secure_cloud.server.server_port}"
    secure_cloud.cloud.address = direct
    for name in ("BASE_URL_DEVCLOUD", "SSO_URL"):
        monkeypatch.setenv(name, direct)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{secure_cloud.proxy.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(secure_cloud.authority))
    assert "10.0.0" in tool_for().find(H747)
    assert secure_cloud.proxy.seen == []


@pytest.mark.usefixtures("account")
def test_a_proxy_that_is_not_there(secure_cloud, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ServiceError, match=r"The connection to cloud\.example failed") as caught:
        tool_for().find(H747)
    assert "HTTPS_PROXY" in caught.value.hint


def test_secrets_are_not_shown():
    assert "hidden" not in repr(Credentials("me", "hidden", "key ring"))
    assert "hidden" not in repr(Token("hidden", "hidden", 1.0))


def test_a_token_file_of_others_is_replaced_by_one_of_ours(tmp_path):
    path = tmp_path / "token"
    path.write_text("old")
    path.chmod(0o644)
    TokenStore(path).save(Token("new"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


ASK = """
import os, sys
from reidfw_targets.cloud.credentials import find_credentials
found = find_credentials({})
print("FOUND", found, found and found.password, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (
            [b"me@example.org\n", b"right&secret\n"],
            "FOUND Credentials('me@example.org', origin='terminal') right&secret",
        ),
        ([b"\n"], "FOUND None None"),
    ],
)
def test_the_terminal_asks_without_showing_the_password(tmp_path, typed, shown):
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring", "HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", ASK],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment,
        start_new_session=True,
        text=True,
    ) as process:
        screen = ""
        for text, question in zip(typed, ("user name", "password: "), strict=False):
            while question not in screen:
                screen += os.read(ours, 1000).decode()
            os.write(ours, text)
        output, _ = process.communicate(timeout=60)
    assert output.strip() == shown
    os.close(theirs)
    with contextlib.suppress(OSError):  # its end, where nobody holds the other side
        screen += os.read(ours, 1000).decode()
    os.close(ours)
    assert "secret" not in screen


def test_nobody_is_asked_without_a_terminal(tmp_path):
    environment = {**os.environ, "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", ASK], input="me\nsecret\n", capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "FOUND None None"


@pytest.fixture
def key_ring(monkeypatch):
    """The real keyring package with a key ring in memory; a test changes its contents, or locks it."""
    keyring = pytest.importorskip("keyring")
    from keyring.backend import KeyringBackend

    class InMemory(KeyringBackend):
        priority = 1
        kept: ClassVar[dict[tuple[str, str], str]] = {}
        locked = False

        def get_password(self, service, username):
            if self.locked:
                raise keyring.errors.KeyringLocked("locked")
            return self.kept.get((service, username))

        def set_password(self, service, username, password):
            self.kept[service, username] = password

    before = keyring.get_keyring()
    keyring.set_keyring(InMemory())
    monkeypatch.undo()  # of what keeps it out of the other tests
    for name in ("stmai_username", "stmai_password"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(credentials_module, "_from_terminal", lambda: None)
    yield keyring
    keyring.set_keyring(before)


def test_the_key_ring(key_ring, caplog):
    assert find_credentials() is None  # nothing is stored yet
    key_ring.set_password("reidfw-stedgeai", "username", "me")
    assert find_credentials() is None  # a name alone is no account
    key_ring.set_password("reidfw-stedgeai", "me", "secret")
    found = find_credentials()
    assert found is not None
    assert (found.username, found.password, found.origin) == ("me", "secret", "key ring")
    own = find_credentials({"stmai_username": "you", "stmai_password": "other"})
    assert own is not None
    assert own.origin == "environment variables"  # goes before it
    key_ring.get_keyring().locked = True
    assert find_credentials() is None
    assert "The key ring cannot be asked for the account" in caplog.text
    assert "secret" not in caplog.text


def test_a_session_closes_its_connection():
    with CloudSession(CloudHosts.from_environment({})) as session:
        client = session._client
    assert client.is_closed

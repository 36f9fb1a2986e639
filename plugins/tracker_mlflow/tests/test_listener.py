"""What stands in the MLflow store after a run, read with MLflow's own client."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs mlflow, not mlflow-skinny")
mlflow = pytest.importorskip("mlflow")
from mlflow import MlflowClient  # noqa: E402
from reidfw_tracker_mlflow.listener import MlflowListener  # noqa: E402

from reidfw_core.api import ServiceError  # noqa: E402

CONFIG = {
    "general": {"project_name": "cattle"},
    "training": {"epochs": 2, "losses": [{"name": "triplet"}]},
    "mlflow": {"uri": "postgresql://me:secret@host/db"},
    "notes": "n" * 7000,
    "many": {f"key{i}": i for i in range(250)},
}
ORIGIN = {"config_path": "/configs", "config_name": "user_config"}


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """Made once: MLflow takes seconds for it."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def outputs(tmp_path, monkeypatch, empty_database) -> Path:
    """The folder `experiments_outputs` of a user who works in the folder above it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments_outputs"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    return folder


def make_run_dir(outputs: Path, name: str = "2024_01_31_12_00_00") -> Path:
    run_dir = outputs / name
    (run_dir / "saved_models").mkdir(parents=True)
    (run_dir / "saved_models" / "best_model.keras").write_bytes(b"model")
    (run_dir / "stm32ai_main.log").write_text("log")
    return run_dir


def start(run_dir: Path, **params) -> MlflowListener:
    listener = MlflowListener(MlflowListener.Params(**params))
    listener.run_started(run_dir=run_dir, project="cattle", operation_mode="chain_tqe", config=CONFIG, origin=ORIGIN)
    return listener


def stored_runs(outputs: Path, experiment: str = "cattle"):
    client = MlflowClient(tracking_uri=f"sqlite:///{outputs}/mlflow.db")
    return client, client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def test_a_whole_run(outputs):
    run_dir = make_run_dir(outputs)
    listener = start(run_dir)
    listener.epoch_finished(epoch=1, metrics={"loss": 2.0, "val_loss": 2.5})
    listener.epoch_finished(epoch=2, metrics={"loss": 1.0, "val_loss": 1.5})
    listener.metrics_reported(step="evaluate", metrics={"float_mAP_test_set": 0.5}, params={"target": "host"})
    listener.metrics_reported(step="benchmark", metrics={"NPU usage (%)": 7}, params={"target": "STM32N6570-DK"})
    listener.run_finished(run_dir=run_dir, status="finished")

    client, (run,) = stored_runs(outputs)
    assert run.info.run_name == "2024_01_31_12_00_00"
    assert run.info.status == "FINISHED"
    assert {(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")} == {(1, 2.0), (2, 1.0)}
    assert run.data.metrics["float_mAP_test_set"] == 0.5
    assert run.data.metrics["NPU usage ___"] == 7
    params = run.data.params
    assert params["operation_mode"] == "chain_tqe"
    assert params["config_path"] == "/configs"
    assert params["training.epochs"] == "2"
    assert len(params["notes"]) == 6000
    assert params["many.key249"] == "249"
    assert (params["target"], params["benchmark.target"]) == ("host", "STM32N6570-DK")
    assert not any("secret" in value for value in params.values())
    assert {item.path for item in client.list_artifacts(run.info.run_id)} == {"saved_models", "stm32ai_main.log"}
    stored = outputs / "mlruns" / run.info.run_id / "artifacts" / "saved_models" / "best_model.keras"
    assert stored.read_bytes() == b"model"


def test_a_plain_mlflow_in_the_folder_sees_the_run(outputs):
    """`mlflow ui` shows the default store of the folder in which it is started."""
    run_dir = make_run_dir(outputs)
    start(run_dir).run_finished(run_dir=run_dir, status="finished")
    script = (
        "from mlflow import MlflowClient; from mlflow.tracking._tracking_service import utils;"
        "client = MlflowClient(tracking_uri=utils._get_default_tracking_uri());"
        "e = client.get_experiment_by_name('cattle');"
        "r, = client.search_runs([e.experiment_id]); print(r.info.run_name, len(client.list_artifacts(r.info.run_id)))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=outputs, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [run_dir.name, "2"]


@pytest.mark.parametrize(("status", "stored"), [("failed", "FAILED"), ("interrupted", "KILLED")])
def test_a_run_that_did_not_finish(outputs, status, stored):
    run_dir = make_run_dir(outputs)
    listener = start(run_dir)
    listener.step_failed(step="train", error=ValueError("no images"))
    listener.run_finished(run_dir=run_dir, status=status)
    _, (run,) = stored_runs(outputs)
    assert run.info.status == stored
    assert run.data.tags["failure"] == "train: ValueError: no images"
    assert stored_runs(outputs)[0].list_artifacts(run.info.run_id)


def test_second_run_joins_the_experiment(outputs):
    for name in ("first", "second"):
        run_dir = make_run_dir(outputs, name)
        start(run_dir, experiment="herd").run_finished(run_dir=run_dir, status="finished")
    _, runs = stored_runs(outputs, "herd")
    assert {run.info.run_name for run in runs} == {"first", "second"}


def test_mlflows_global_state_is_left_alone(outputs):
    before = mlflow.get_tracking_uri()
    run_dir = make_run_dir(outputs)
    listener = start(run_dir)
    assert mlflow.active_run() is None
    listener.run_finished(run_dir=run_dir, status="finished")
    assert mlflow.get_tracking_uri() == before
    assert not any(name.startswith("MLFLOW_TRACKING") for name in os.environ)


def test_a_store_that_fails_during_the_run_does_not_end_it(outputs, caplog):
    run_dir = make_run_dir(outputs)
    listener = start(run_dir)
    client, (run,) = stored_runs(outputs)
    client.delete_run(run.info.run_id)
    listener.epoch_finished(epoch=1, metrics={"loss": 2.0})
    assert "MLflow did not take the metrics of epoch 1" in caplog.text


def test_deleted_experiment_is_not_revived(outputs):
    run_dir = make_run_dir(outputs)
    start(run_dir).run_finished(run_dir=run_dir, status="finished")
    client = MlflowClient(tracking_uri=f"sqlite:///{outputs}/mlflow.db")
    client.delete_experiment(client.get_experiment_by_name("cattle").experiment_id)
    with pytest.raises(ServiceError, match="'cattle' was deleted"):
        start(make_run_dir(outputs, "again"))


def test_absent_server_is_found_before_training(outputs):
    with pytest.raises(ServiceError, match=r"no MLflow server answers at http://localhost:1 \(ConnectionError\)"):
        start(make_run_dir(outputs), uri="http://me:secret@localhost:1")


def test_something_else_than_an_mlflow_server(outputs):
    with http.server.HTTPServer(("localhost", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(ServiceError, match="MLflow at http://localhost"):
                start(make_run_dir(outputs), uri=f"http://localhost:{server.server_port}")
        finally:
            server.shutdown()


def test_unknown_kind_of_address(outputs):
    with pytest.raises(ServiceError, match="'gopher://host' is not an address that MLflow knows") as refused:
        start(make_run_dir(outputs), uri="gopher://host")
    assert "http://host:port" in str(refused.value.hint)


@pytest.mark.parametrize("uri", ["taken", "taken/mlruns"])
def test_a_file_where_the_folder_should_be(outputs, uri):
    Path("taken").touch()
    with pytest.raises(ServiceError, match="cannot make the folder"):
        start(make_run_dir(outputs), uri=uri)


def test_a_database_that_is_none(outputs):
    (outputs / "mlflow.db").write_text("hello, this is text")
    with pytest.raises(ServiceError, match=r"mlflow\.db is not a SQLite database"):
        start(make_run_dir(outputs))


def test_a_store_inside_the_run_folder_is_refused(outputs):
    run_dir = make_run_dir(outputs)
    with pytest.raises(ServiceError, match="lies inside the run folder"):
        start(run_dir, uri=str(run_dir / "mlruns"))


def test_runs_of_older_versions_are_pointed_out(outputs, caplog):
    (outputs / "mlruns" / "1").mkdir(parents=True)
    (outputs / "mlruns" / "1" / "meta.yaml").touch()
    start(make_run_dir(outputs))
    assert "mlflow migrate-filestore" in caplog.text


def test_tracking_into_a_folder_needs_no_network(outputs):
    """In a process of its own, in which MLflow does not know that it is being tested."""
    run_dir = make_run_dir(outputs)
    script = f"""
import pathlib, socket, threading, time
tried = []
socket.socket.connect = lambda self, address: tried.append(address)
socket.getaddrinfo = lambda *arguments, **names: tried.append(arguments) or []
from reidfw_tracker_mlflow.listener import MlflowListener
run_dir = pathlib.Path({str(run_dir)!r})
listener = MlflowListener()
listener.run_started(run_dir=run_dir, project="p", operation_mode="training", config={{}}, origin={{}})
listener.epoch_finished(epoch=1, metrics={{"loss": 1.0}})
listener.run_finished(run_dir=run_dir, status="finished")
time.sleep(0.5)
print(tried, [thread.name for thread in threading.enumerate()])
"""
    silent = ("PYTEST", "CI", "GITHUB", "MLFLOW_", "DO_NOT_TRACK", "BUILD")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(silent)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ['MainThread']"

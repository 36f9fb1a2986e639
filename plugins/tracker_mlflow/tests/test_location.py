"""What `mlflow.uri` stands for."""

from __future__ import annotations

import pytest
from reidfw_tracker_mlflow.location import holds_file_store, is_sqlite, store_location


def test_folder_stands_for_what_mlflow_ui_shows_in_its_parent(tmp_path):
    location = store_location("./experiments_outputs/mlruns", tmp_path)
    assert location.artifacts == tmp_path / "experiments_outputs/mlruns"
    assert location.tracking_uri == f"sqlite:///{tmp_path}/experiments_outputs/mlflow.db"


def test_file_uri_is_a_folder(tmp_path):
    location = store_location(f"file://{tmp_path}/a%20b/mlruns", tmp_path)
    assert location.artifacts == tmp_path / "a b/mlruns"


@pytest.mark.parametrize(
    "uri",
    ["http://host:5000", "https://host/mlflow", "sqlite:///x.db", "postgresql+psycopg2://u:p@h/db", "databricks:"],
)
def test_servers_and_databases_are_taken_as_they_are(uri, tmp_path):
    location = store_location(uri, tmp_path)
    assert (location.tracking_uri, location.artifacts, location.database) == (uri, None, None)


def test_a_drive_letter_is_no_scheme(tmp_path):
    assert store_location(r"C:\runs", tmp_path).artifacts is not None


def test_passwords_are_not_shown(tmp_path):
    assert str(store_location("postgresql://me:secret@host:5432/db", tmp_path)) == "postgresql://host:5432/db"


def test_plain_files_of_older_versions_are_recognised(tmp_path):
    assert not holds_file_store(tmp_path / "absent")
    (tmp_path / "1").mkdir()
    assert not holds_file_store(tmp_path)
    (tmp_path / "1" / "meta.yaml").touch()
    assert holds_file_store(tmp_path)


def test_database_file_is_recognised_by_its_first_bytes(tmp_path):
    path = tmp_path / "mlflow.db"
    path.touch()
    assert is_sqlite(path)
    path.write_text("hello, this is text")
    assert not is_sqlite(path)

"""A plugin may be broken, doubled, outdated or slow: it is shown as such, and the others go on working."""

from __future__ import annotations

import json
import sys

import pytest

from reidfw_core.catalog import Catalog, CatalogEntry
from reidfw_core.errors import PluginBroken, PluginConflict, PluginIncompatible, PluginNotFound


def entry(name: str, distribution: str, kind: str = "backbones") -> CatalogEntry:
    [found] = [e for e in Catalog().entries(kind) if (e.name, e.distribution) == (name, distribution)]
    return found


def test_an_installed_component_is_listed_and_loaded(zoo, good_backbone):
    zoo.install("acme-good", source=good_backbone, entry_points={"backbones": {"acme.good": "Good"}})
    listed = entry("acme.good", "acme-good")
    assert (listed.status, listed.version, listed.summary) == ("ok", "1.2.3", "An animal of the zoo")
    assert listed.needs_core == "<2,>=1.0"
    assert listed.reference == "acme-good/acme.good"
    assert "acme_good" not in sys.modules, "listing imported the plugin"
    assert Catalog().load("backbones", "ACME.good").__name__ == "Good"


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import absent_vendor_package", "ModuleNotFoundError: No module named 'absent_vendor_package'"),
        ("assert False, 'wrong platform'", "AssertionError: wrong platform"),
        ("import sys; sys.exit(7)", "SystemExit: 7"),
        ("def broken(:", "SyntaxError: invalid syntax"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named_and_harms_no_other(zoo, good_backbone, statement, shown):
    zoo.install("acme-broken", source=statement, entry_points={"backbones": {"acme.broken": "Net"}})
    zoo.install("acme-good", source=good_backbone, entry_points={"backbones": {"acme.good": "Good"}})
    assert entry("acme.broken", "acme-broken").status == "ok", "only importing it can tell"
    with pytest.raises(PluginBroken) as broken:
        Catalog().load("backbones", "acme.broken")
    assert "acme-broken 1.2.3" in broken.value.message
    assert shown in broken.value.message
    assert "pip uninstall acme-broken" in str(broken.value.hint)
    assert broken.value.exit_code == 3
    assert Catalog().load("backbones", "acme.good").__name__ == "Good"


def test_an_entry_point_that_leads_nowhere(zoo, good_backbone):
    zoo.install(
        "acme-lost",
        source=good_backbone,
        entry_points={"backbones": {"acme.class": "Absent", "acme.module": "acme_absent:Net"}},
    )
    with pytest.raises(PluginBroken, match=r"acme_lost:Absent: AttributeError"):
        Catalog().load("backbones", "acme.class")
    with pytest.raises(PluginBroken, match=r"acme_absent:Net: ModuleNotFoundError"):
        Catalog().load("backbones", "acme.module")


@pytest.mark.parametrize(
    "source",
    [
        "class Net: pass",
        "def Net(): pass",
        "Net = 3",
        "from reidfw_core.api import Loss\nclass Net(Loss): pass",
        "from reidfw_core.api import Backbone\nclass Real(Backbone): pass\nNet = Real()",
    ],
    ids=["unrelated class", "function", "value", "another kind", "instance"],
)
def test_something_else_than_a_class_of_its_kind(zoo, source):
    zoo.install("acme-wrong", source=source, entry_points={"backbones": {"acme.net": "Net"}})
    with pytest.raises(PluginBroken, match=r"acme_wrong:Net is not a subclass of reidfw_core\.api\.Backbone"):
        Catalog().load("backbones", "acme.net")


@pytest.mark.parametrize("other_name", ["acme.net", "ACME.Net"])
def test_a_name_used_twice_needs_its_distribution_in_front(zoo, good_backbone, other_name):
    zoo.install("acme-one", source=good_backbone, entry_points={"backbones": {"acme.net": "Good"}})
    zoo.install("acme-two", source=good_backbone, entry_points={"backbones": {other_name: "Good"}})
    assert entry("acme.net", "acme-one").status == "conflict"
    with pytest.raises(PluginConflict) as conflict:
        Catalog().load("backbones", "acme.net")
    assert "acme-one/acme.net" in conflict.value.message
    assert f"acme-two/{other_name}" in conflict.value.message
    assert "qualified" in str(conflict.value.hint)
    assert not {"acme_one", "acme_two"} & set(sys.modules), "both were imported before anyone chose"
    assert Catalog().load("backbones", "acme-two/acme.net").__module__ == "acme_two"
    assert "acme_one" not in sys.modules, "the other one was imported too"


def test_three_of_a_name_are_all_in_conflict(zoo, good_backbone):
    """Also where one that differs stands between them."""
    for distribution in ("acme-one", "acme-two", "acme-three"):
        zoo.install(distribution, source=good_backbone, entry_points={"backbones": {"acme.net": "Good"}})
    zoo.install("acme-two-b", source=good_backbone, entry_points={"backbones": {"acme.other": "Good"}})
    states = {e.reference: e.status for e in Catalog().entries("backbones") if e.distribution.startswith("acme")}
    assert states == {
        "acme-one/acme.net": "conflict",
        "acme-two/acme.net": "conflict",
        "acme-three/acme.net": "conflict",
        "acme-two-b/acme.other": "ok",
    }


def test_the_same_name_in_two_kinds_is_no_conflict(zoo, good_backbone):
    zoo.install("acme-one", source=good_backbone, entry_points={"backbones": {"acme.net": "Good"}})
    zoo.install("acme-two", source=good_backbone, entry_points={"targets": {"acme.net": "Good"}})
    assert entry("acme.net", "acme-one").status == "ok"
    assert entry("acme.net", "acme-two", "targets").status == "ok"


def test_a_plugin_for_another_core_is_not_imported(zoo, good_backbone):
    zoo.install(
        "acme-future",
        source=good_backbone,
        entry_points={"backbones": {"acme.net": "Good"}},
        requires=("numpy", "reidfw-core>=2"),
    )
    assert entry("acme.net", "acme-future").status == "incompatible"
    with pytest.raises(PluginIncompatible, match=r"acme-future 1\.2\.3 needs reidfw-core>=2, installed is 1\.") as old:
        Catalog().load("backbones", "acme.net")
    assert old.value.hint == "pip install --upgrade acme-future"
    assert "acme_future" not in sys.modules


def test_an_outdated_namesake_is_no_conflict(zoo, good_backbone):
    zoo.install("acme-now", source=good_backbone, entry_points={"backbones": {"acme.net": "Good"}})
    zoo.install(
        "acme-future",
        source=good_backbone,
        entry_points={"backbones": {"acme.net": "Good"}},
        requires=("reidfw_core>=2",),
    )
    assert entry("acme.net", "acme-now").status == "ok"
    assert entry("acme.net", "acme-future").status == "incompatible"
    assert Catalog().load("backbones", "acme.net").__module__ == "acme_now"


def test_a_malformed_requirement_of_a_plugin_harms_no_listing(zoo, good_backbone):
    zoo.install(
        "acme-odd",
        source=good_backbone,
        entry_points={"backbones": {"acme.net": "Good"}},
        requires=("not a requirement !!", "reidfw-core>=1"),
    )
    assert entry("acme.net", "acme-odd").status == "ok"


def test_a_plugin_without_requirements_is_taken(zoo, good_backbone):
    zoo.install("acme-bare", source=good_backbone, entry_points={"backbones": {"acme.net": "Good"}}, requires=())
    assert Catalog().load("backbones", "acme.net").__name__ == "Good"


def test_an_unknown_name_gets_the_nearest_one(zoo, good_backbone):
    zoo.install("acme-good", source=good_backbone, entry_points={"backbones": {"acme.good_net": "Good"}})
    with pytest.raises(PluginNotFound, match=r"did you mean 'acme\.good_net'"):
        Catalog().load("backbones", "acme.god_net")
    with pytest.raises(PluginNotFound):
        Catalog().load("backbones", "another-distribution/acme.good_net")


def test_loading_one_imports_no_other(zoo, good_backbone, tmp_path):
    trace = tmp_path / "imported"
    zoo.install(
        "acme-slow",
        source=f"import pathlib, time\npathlib.Path({str(trace)!r}).touch()\ntime.sleep(30)",
        entry_points={"backbones": {"acme.slow": "Net"}},
    )
    zoo.install("acme-good", source=good_backbone, entry_points={"backbones": {"acme.good": "Good"}})
    Catalog().entries("backbones")
    Catalog().load("backbones", "acme.good")
    assert not trace.exists()


def test_the_command_line_over_the_whole_zoo(zoo, good_backbone, tmp_path):
    """One broken plugin never hides another; a listing imports none of them."""
    trace = tmp_path / "imported"
    note = f"import pathlib\npathlib.Path({str(trace)!r}).touch()\n"
    backbone = {"backbones": {"acme.net": "Good"}}
    zoo.install("acme-exit", source=note + "raise SystemExit(0)", entry_points={"targets": {"acme.exit": "Board"}})
    zoo.install("acme-raise", source=note + "1 / 0", entry_points={"targets": {"acme.raise": "Board"}})
    zoo.install("acme-one", source=good_backbone, entry_points=backbone)
    zoo.install("acme-two", source=good_backbone, entry_points=backbone)
    zoo.install("acme-future", source=note, entry_points=backbone, requires=("reidfw-core>=2",))

    listing = zoo.reidfw("list", "--json")
    assert listing.returncode == 0, listing.stderr
    states = {f"{row['distribution']}/{row['name']}": row["status"] for row in json.loads(listing.stdout)}
    expected = {
        "acme-exit/acme.exit": "ok",
        "acme-raise/acme.raise": "ok",
        "acme-one/acme.net": "conflict",
        "acme-two/acme.net": "conflict",
        "acme-future/acme.net": "incompatible",
    }
    assert states.items() >= expected.items()
    assert not trace.exists(), "the listing imported a plugin"

    checked = zoo.reidfw("list", "targets", "--json", "--check")
    rows = {row["name"]: row for row in json.loads(checked.stdout)}
    assert rows["acme.exit"]["status"] == rows["acme.raise"]["status"] == "broken"
    assert "SystemExit: 0" in rows["acme.exit"]["note"]
    assert "ZeroDivisionError" in rows["acme.raise"]["note"]

    refused = zoo.reidfw("show", "targets", "acme.raise")
    assert refused.returncode == 3
    assert "acme-raise 1.2.3" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert zoo.reidfw("show", "backbones", "acme.net").returncode == 2
    assert zoo.reidfw("show", "backbones", "acme-two/acme.net").returncode == 0

"""The pages in a real browser: nothing sticks out on a phone or on a wide screen, and the buttons do what they say."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from reidfw_core.report.comparison import write_comparison
from reidfw_core.report.page import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome on the PATH"),
]

FRAME = """<!doctype html><meta charset="utf-8"><body>
<iframe id="page" srcdoc="{page}" style="width: {width}px; height: 800px; border: 0"></iframe>
<pre id="told"></pre>
<script>
var told = document.getElementById("told");
document.getElementById("page").addEventListener("load", function () {{
  var page = this.contentDocument;
  page.querySelectorAll("details").forEach(function (part) {{ part.open = true; }});
  told.textContent = (function () {{ {script} }})();
}});
</script>"""


def ask(page: Path, width: int, script: str, tmp_path: Path) -> str:
    """What a script finds out about a page in a frame of ``width`` pixels, with all its details open."""
    frame = tmp_path / "frame.html"
    text = FRAME.format(page=html.escape(page.read_text(encoding="utf-8")), width=width, script=script)
    frame.write_text(text, encoding="utf-8")
    assert BROWSER is not None
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=5000",
        "--window-size=1600,900",
        "--dump-dom",
        frame.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    told = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert told is not None
    return html.unescape(told[1])


@pytest.fixture(params=["report", "comparison"])
def page(request: pytest.FixtureRequest, made: ModuleType, tmp_path: Path) -> Path:
    long = "a_name_without_a_single_gap_" * 6
    runs = [made.write_run(tmp_path / name, made.full_summary(name + long, project=long)) for name in ("one", "two")]
    if request.param == "report":
        return write_report(runs[0])
    return write_comparison(runs, tmp_path / "comparison.html")


@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_sticks_out(page: Path, width: int, tmp_path: Path) -> None:
    script = """
      var root = page.documentElement, wide = [];
      page.querySelectorAll("main > *, section > *, figure, .tile").forEach(function (part) {
        if (part.getBoundingClientRect().right > root.clientWidth + 0.5) { wide.push(part.tagName + part.className); }
      });
      return root.clientWidth + " " + root.scrollWidth + " " + wide.join(",");
    """

    there, needed, wide = ask(page, width, script, tmp_path).split(" ", 2)

    assert width - 20 <= int(there) <= width
    assert int(needed) <= int(there)
    assert wide == ""


def test_the_button_changes_the_colours_and_back(page: Path, tmp_path: Path) -> None:
    script = """
      var seen = [], button = page.getElementById("theme");
      for (var turn = 0; turn < 3; turn += 1) {
        seen.push(page.defaultView.getComputedStyle(page.body).backgroundColor + button.textContent);
        button.click();
      }
      return seen.join("|");
    """

    first, second, third = ask(page, 800, script, tmp_path).split("|")

    assert first == third
    assert first != second
    assert first.endswith("Dark")


def test_a_click_on_a_headline_sorts(made: ModuleType, tmp_path: Path) -> None:
    runs = [
        made.write_run(tmp_path / name, made.full_summary(name, mean))
        for name, mean in (("one", 61.0), ("two", 9.5), ("three", 70.0))
    ]
    page = write_comparison(runs, tmp_path / "comparison.html")
    script = """
      var table = page.querySelector("table");
      var header = Array.from(table.querySelectorAll("th")).find(function (one) {
        return one.textContent.trim().startsWith("mAP\u00a0%"); });
      var place = header.cellIndex, found = [];
      for (var turn = 0; turn < 2; turn += 1) {
        header.querySelector("button").click();
        found.push(header.getAttribute("aria-sort") + ":" + Array.from(table.tBodies[0].rows).map(function (row) {
          return row.cells[place].dataset.value; }).join(","));
      }
      return found.join("|");
    """

    down, up = ask(page, 1400, script, tmp_path).split("|")

    values = [float(value) for value in down.removeprefix("descending:").split(",")]
    assert values == sorted(values, reverse=True)
    assert up == "ascending:" + ",".join(down.removeprefix("descending:").split(",")[::-1])

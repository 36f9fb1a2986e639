"""The made-up summaries, as a fixture: test folders are no packages."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """The module ``summaries.py`` beside this file."""
    spec = importlib.util.spec_from_file_location("report_summaries", Path(__file__).with_name("summaries.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def parse() -> type:
    """A reader of pages that notes what a browser would make of them."""
    spec = importlib.util.spec_from_file_location("report_html", Path(__file__).with_name("html_facts.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.HtmlFacts

"""The components keep the contracts of their kinds."""

import importlib.metadata

import pytest

from reidfw_core.testing import contract_suite

DISTRIBUTION = "reidfw-plugin-template"

try:
    importlib.metadata.distribution(DISTRIBUTION)
except importlib.metadata.PackageNotFoundError:
    pytest.skip(f"{DISTRIBUTION} is a template, not installed by default", allow_module_level=True)

TestContract = contract_suite(DISTRIBUTION)

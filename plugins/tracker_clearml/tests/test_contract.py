"""The components keep the contracts of their kinds."""

from reidfw_core.testing import contract_suite

TestContract = contract_suite("reidfw-tracker-clearml")

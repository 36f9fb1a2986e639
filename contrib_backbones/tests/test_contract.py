"""The components keep the contracts of their kinds."""

from pathlib import Path

from reidfw_core.testing import contract_suite

OWN = Path(__file__).with_name("own_network.py")

TestContract = contract_suite("reidfw-backbones", params={"custom": {"function": f"{OWN}:three_blocks"}})

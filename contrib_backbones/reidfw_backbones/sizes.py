"""How large each backbone is, by which a weights file of the wrong one is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from reidfw_backbones.mobilenet import ARCHITECTURES
from reidfw_backbones.networks import MEMBERS

NUM_PARAMETERS: Mapping[str, int] = MappingProxyType(
    {name: architecture.num_parameters for name, architecture in ARCHITECTURES.items()}
    | {name: member.num_parameters for name, member in MEMBERS.items()}
)
"""Numbers in all weights for an RGB input, by the name of the backbone; no two are alike."""

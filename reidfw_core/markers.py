"""The two pluggy markers of reidfw.

``hookspec`` marks a contract (only in :mod:`reidfw_core.hookspecs`), ``hookimpl`` marks the answer that
a component gives to it. Both belong to the project name ``reidfw``.
"""

from __future__ import annotations

import pluggy

PROJECT = "reidfw"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

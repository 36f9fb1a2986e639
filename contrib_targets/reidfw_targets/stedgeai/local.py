"""ST Edge AI Core where only an installed one will do: the developer cloud builds no applications."""

from __future__ import annotations

import logging
from pathlib import Path

from reidfw_core.api import ToolNotFound
from reidfw_targets.stedgeai.executable import StEdgeAiInstallation, find_executable, probe

logger = logging.getLogger(__name__)


def local_installation(path: Path | None, purpose: str) -> StEdgeAiInstallation:
    """Finds the installation and asks its version; a warning about it is logged.

    Args:
        path: ``tools.stedgeai.path_to_stedgeai``.
        purpose: what it is needed for, for example ``A deployment``.

    Raises:
        ToolNotFound, ToolFailed: it is not there, or does not work.
    """
    try:
        executable, found_by = find_executable(path)
    except ToolNotFound as cause:
        raise ToolNotFound(
            cause.message,
            hint=f"{purpose} needs ST Edge AI Core on this computer, the developer cloud will not do: install it from "
            "www.st.com and give tools.stedgeai.path_to_stedgeai.",
        ) from cause
    found = probe(executable, found_by)
    if found.warning:
        logger.warning(found.warning)
    return found

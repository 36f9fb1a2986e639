"""Fetching models and weights that the configuration names by their address."""

from __future__ import annotations

import hashlib
import logging
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

from reidfw_core.errors import ServiceError
from reidfw_core.files import atomic_path, cache_root

logger = logging.getLogger(__name__)

TIMEOUT_S = 20.0
"""Seconds without an answer after which a download is given up."""


def is_url(text: str) -> bool:
    """Whether a ``model_path`` is an address rather than a file."""
    return text.lower().startswith(("http://", "https://"))


def file_name_of(url: str) -> str:
    """The file name at the end of an address, without its query."""
    return Path(unquote(urlsplit(url).path)).name


def kept_download(address: str) -> Path:
    """A file that is downloaded once and kept in the folder for files that can be made again.

    Raises:
        ServiceError: no answer within :data:`TIMEOUT_S`, or a refusal.
        StorageError: the file cannot be written.
    """
    folder = cache_root() / "weights" / hashlib.sha256(address.encode()).hexdigest()[:16]
    path = folder / file_name_of(address)
    if path.is_file():
        logger.info("%s was downloaded before: %s", address, path)
        return path
    return download(address, folder)


def download(url: str, folder: Path) -> Path:
    """Downloads a file into ``folder``; proxies are taken from the usual variables, certificates are verified.

    Raises:
        ServiceError: no answer within :data:`TIMEOUT_S`, or a refusal.
        StorageError: the file cannot be written.
    """
    path = folder / file_name_of(url)
    logger.info("Downloading %s", url)
    try:
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer,  # noqa: S310 (is_url let http and https through)
            atomic_path(path) as temporary,
            temporary.open("wb") as file,
        ):
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as cause:
        reason = getattr(cause, "reason", cause)
        raise ServiceError(
            f"{url} cannot be downloaded: {reason}",
            hint="Check the address and the proxy, or download the file yourself and give its path.",
        ) from cause
    return path

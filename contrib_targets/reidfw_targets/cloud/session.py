"""Requests to the developer cloud: logged in, with time limits, retried where that can help, and never unverified."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import httpx

from reidfw_core.api import ServiceError, StorageError
from reidfw_targets.cloud.credentials import HOW, TokenStore, environment_credentials, find_credentials
from reidfw_targets.cloud.hosts import CloudHosts
from reidfw_targets.cloud.login import log_in, refresh

logger = logging.getLogger(__name__)

RETRIES = 4
"""How often a request is sent again after an error of the server (status 5xx) or a cut connection, at most."""

BACK_OFF_S = 0.5
"""Seconds before the first repetition; each further one waits twice as long."""

TIMEOUT = httpx.Timeout(60.0, connect=20.0)
"""Limits of one request: 20 s to connect, 60 s between two pieces of the answer."""


class CloudSession:
    """A logged-in connection. Use it as a context manager.

    Certificates are always verified. Proxies come from the usual variables (``HTTPS_PROXY``, ``NO_PROXY``),
    certificate authorities of one's own from ``SSL_CERT_FILE``.

    Args:
        hosts: where the cloud is; the environment decides by default.
        store: where the token is kept. One of another account than the environment's, or of another server, is not
            used.

    Raises:
        ServiceError: the environment names half an account.
    """

    def __init__(self, hosts: CloudHosts | None = None, store: TokenStore | None = None) -> None:
        self.hosts = hosts or CloudHosts.from_environment()
        self._store = store or TokenStore()
        account = environment_credentials()
        kept = self._store.load()
        usable = kept is not None and kept.serves(account.username if account else None, self.hosts.base)
        self._token = kept if usable else None
        self._client = httpx.Client(timeout=TIMEOUT, headers={"Accept": "application/json"})
        if os.environ.get("NO_SSL_VERIFY"):
            logger.warning("NO_SSL_VERIFY has no effect: certificates are always verified (SSL_CERT_FILE adds some)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def log_in(self) -> None:
        """Makes sure that there is a token: the kept one, a renewed one, or a new one for the password.

        Raises:
            ServiceError: no account is given, or the cloud refuses it.
        """
        if self._token is not None and not self._token.is_expired:
            return
        with _told(self.hosts.sign_on):
            renewed = refresh(self._client, self.hosts, self._token) if self._token is not None else None
            if self._token is not None and renewed is not None:
                token = replace(renewed, account=self._token.account, server=self.hosts.base)
            else:
                credentials = find_credentials()
                if credentials is None:
                    raise ServiceError(
                        "The developer cloud needs an account of www.st.com, and none is given", hint=HOW
                    )
                logger.info("Logging in to the developer cloud as %s (%s)", credentials.username, credentials.origin)
                given = log_in(self._client, self.hosts, credentials)
                token = replace(given, account=credentials.username, server=self.hosts.base)
        self._token = token
        try:
            self._store.save(token)
        except StorageError as cause:
            logger.warning("%s. Each later step or run logs in anew", cause.message)

    def json(self, method: str, url: str, **arguments: Any) -> Any:
        """The answer to a request, decoded. Arguments and errors as :meth:`request`.

        Raises:
            ServiceError: also where it is no JSON.
        """
        answer = self.request(method, url, **arguments)
        try:
            return answer.json()
        except ValueError as cause:
            raise ServiceError(f"{_shown(method, url)} answered with something that is no JSON") from cause

    def request(
        self,
        method: str,
        url: str,
        *,
        with_token: bool = True,
        repeat: bool = True,
        patient: bool = False,
        files: Mapping[str, Any] | None = None,
        body: Any = None,
    ) -> httpx.Response:
        """Sends a request.

        Args:
            method, url: what and where.
            with_token: log in first.
            repeat: send it again after a status 5xx; off where doing it twice is not the same as doing it once.
            patient: send it again after a cut connection too; only for questions that change nothing.
            files: parts of a multipart body, as (name, bytes).
            body: sent as JSON.

        Raises:
            ServiceError: no connection, no answer in time, or another status than 2xx.
        """
        if with_token:
            self.log_in()
        send = partial(self._send, method, url, repeat=repeat, patient=patient, files=files, body=body)
        answer = send(with_token=with_token)
        if answer.status_code == httpx.codes.UNAUTHORIZED and with_token:
            logger.info("The token of the developer cloud is no longer accepted")
            self._token = None if self._token is None else replace(self._token, expires_at=0.0)
            self.log_in()
            answer = send(with_token=True)
        if not answer.is_success:
            raise ServiceError(f"{_shown(method, url)} answered with status {answer.status_code}{_reason(answer)}")
        return answer

    def _send(
        self,
        method: str,
        url: str,
        *,
        with_token: bool,
        repeat: bool,
        patient: bool,
        files: Mapping[str, Any] | None,
        body: Any,
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token.access}"} if with_token and self._token else {}
        wait_s = BACK_OFF_S
        for attempt in range(RETRIES + 1):
            last = attempt == RETRIES
            try:
                with _told(url):
                    answer = self._client.request(method, url, headers=headers, files=files, json=body)
            except ServiceError as cause:
                if not patient or last:
                    raise
                what = cause.message
            else:
                if not answer.is_server_error or not repeat or last:
                    return answer
                what = f"{_shown(method, url)} answered with status {answer.status_code}"
            logger.warning("%s; trying again in %g s", what, wait_s)
            time.sleep(wait_s)
            wait_s *= 2
        raise AssertionError("the loop returns")


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Turns faults of the connection into errors that say what to look at."""
    host = httpx.URL(url).host
    try:
        yield
    except httpx.TimeoutException as cause:
        raise ServiceError(f"{host} did not answer in time ({type(cause).__name__})") from cause
    except (httpx.HTTPError, httpx.InvalidURL) as cause:
        text = str(cause) or type(cause).__name__
        hint = "Check the network, and HTTPS_PROXY where a proxy is needed."
        if "CERTIFICATE" in text.upper():
            hint = (
                "This computer does not trust the certificate. Behind a proxy that opens encrypted connections, "
                "set SSL_CERT_FILE to a file with its certificate authority. Verification cannot be switched off."
            )
        raise ServiceError(f"The connection to {host} failed: {text}", hint=hint) from cause


def _shown(method: str, url: str) -> str:
    return f"{method} {httpx.URL(url).copy_with(query=None)}"


def _reason(answer: httpx.Response) -> str:
    """What the answer says, shortened."""
    text = " ".join(answer.text.split())
    return f": {text[:500]}" if text else ""

"""Name and password of the user's ST account, and the token that stands for them for a while."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reidfw_core.api import ServiceError, StorageError
from reidfw_targets.cloud.hosts import BASE

logger = logging.getLogger(__name__)

USER_VARIABLE, PASSWORD_VARIABLE = "stmai_username", "stmai_password"
KEYRING_SERVICE = "reidfw-stedgeai"
"""Under this name ``keyring`` is asked: once with the user ``username``, once with that user's name."""

HOW = (
    f"Set the environment variables {USER_VARIABLE} and {PASSWORD_VARIABLE} to your account of www.st.com; or store it "
    f"with `keyring set {KEYRING_SERVICE} username` and `keyring set {KEYRING_SERVICE} YOUR-NAME` "
    '(pip install "reidfw-targets[keyring]"); or call reidfw from a terminal, where it asks.'
)


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """A name and a password, and where they come from. The password is never shown."""

    username: str
    password: str
    origin: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, origin={self.origin!r})"


def find_credentials(environment: Mapping[str, str] = os.environ) -> Credentials | None:
    """Environment variables, else the system's key ring, else a question on the terminal.

    Returns:
        None where there is no answer.

    Raises:
        ServiceError: only one of the two variables is set.
    """
    return environment_credentials(environment) or _from_keyring() or _from_terminal()


def environment_credentials(environment: Mapping[str, str] = os.environ) -> Credentials | None:
    """The account that the environment variables name, None where neither is set. Raises ServiceError for one alone."""
    username, password = environment.get(USER_VARIABLE), environment.get(PASSWORD_VARIABLE)
    if username and password:
        return Credentials(username, password, "environment variables")
    if username or password:
        given, absent = (USER_VARIABLE, PASSWORD_VARIABLE) if username else (PASSWORD_VARIABLE, USER_VARIABLE)
        raise ServiceError(f"The environment variable {given} is set, {absent} is not", hint="Set both, or none.")
    return None


def _from_keyring() -> Credentials | None:
    try:
        import keyring
        from keyring.errors import KeyringError, NoKeyringError
    except ModuleNotFoundError:
        return None
    try:
        username = keyring.get_password(KEYRING_SERVICE, "username")
        password = keyring.get_password(KEYRING_SERVICE, username) if username else None
    except NoKeyringError:
        return None  # this computer has none
    except KeyringError as cause:
        logger.warning("The key ring cannot be asked for the account: %s", cause)
        return None
    return Credentials(username, password, "key ring") if username and password else None


def _from_terminal() -> Credentials | None:
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    from getpass import getpass

    sys.stderr.write("Account of www.st.com for the developer cloud\n  user name (e-mail address): ")
    sys.stderr.flush()
    username = sys.stdin.readline().strip()
    password = getpass("  password: ") if username else ""
    return Credentials(username, password, "terminal") if username and password else None


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """What the cloud gave for the password.

    Attributes:
        access: sent with every request.
        refresh: gets a new one when it is expired; None where the cloud gave none.
        expires_at: seconds since 1970; None where the cloud did not tell.
        account, server: whose it is, and who gave it; None in a file of ST's own client, which does not tell.
    """

    access: str
    refresh: str | None = None
    expires_at: float | None = None
    account: str | None = None
    server: str | None = None

    def __repr__(self) -> str:
        return f"Token(expires_at={self.expires_at})"

    @property
    def is_expired(self) -> bool:
        """Whether its time is over, or within a minute of it."""
        return self.expires_at is not None and time.time() > self.expires_at - 60

    def serves(self, account: str | None, server: str) -> bool:
        """Whether it may be used: it was given by this server, and to this account.

        Args:
            account: the name of the account that is asked for; None for any.
            server: the cloud's address; a token that does not tell is of ST's public one.
        """
        if (self.server or BASE.rstrip("/")) != server:
            return False
        return account is None or (self.account is not None and self.account.lower() == account.lower())

    @classmethod
    def of_answer(cls, answer: Any, refresh: str | None = None) -> Token:
        """The token in the cloud's answer.

        Args:
            answer: decoded JSON.
            refresh: kept where the answer holds none.

        Raises:
            ServiceError: there is none in it.
        """
        access = answer.get("access_token") if isinstance(answer, Mapping) else None
        if not isinstance(access, str) or not access:
            shown = sorted(answer) if isinstance(answer, Mapping) else type(answer).__name__
            raise ServiceError(f"The developer cloud's log-in gave no access_token, but {shown}")
        expires = answer.get("expires_at")
        seconds = float(expires) if isinstance(expires, int | float) else None
        if seconds is not None and seconds > 1e11:
            seconds /= 1000  # milliseconds
        found = answer.get("refresh_token")
        return cls(access, found if isinstance(found, str) else refresh, seconds)


_WHOSE = ("reidfw_account", "reidfw_server")
"""Fields of the file beside those of ST's client, which leaves them alone."""


class TokenStore:
    """The file that keeps the token between runs, readable by its owner alone.

    It is the file of ST's own client, so a log-in there counts here and the other way round.

    Args:
        path: the file; ``~/.stmai_token`` by default.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Path(os.path.expanduser("~"), ".stmai_token")  # noqa: PTH111 (never fails)

    def load(self) -> Token | None:
        """The kept token, None where there is none that can be used."""
        try:
            answer = json.loads(self.path.read_text(encoding="utf-8"))
            token = Token.of_answer(answer)
            account, server = (value if isinstance(value := answer.get(name), str) else None for name in _WHOSE)
            return replace(token, account=account, server=server)
        except (OSError, ValueError, ServiceError):
            return None  # then the password is needed again

    def save(self, token: Token) -> None:
        """Writes the token: to a new file of mode 0600, which then takes the old one's place.

        Raises:
            StorageError: it cannot be written.
        """
        content = json.dumps(
            {
                "access_token": token.access,
                "refresh_token": token.refresh,
                "expires_at": token.expires_at,
                **dict(zip(_WHOSE, (token.account, token.server), strict=True)),
            }
        )
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(content)
            temporary.replace(self.path)
        except OSError as cause:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise StorageError(f"The token cannot be kept in {self.path}: {cause.strerror or cause}") from cause

    def clear(self) -> None:
        """Forgets the token."""
        self.path.unlink(missing_ok=True)

"""Where the developer cloud is. The environment variables of ST's own client name other places, for tests say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from reidfw_core.api import ServiceError

BASE = "https://stedgeai-dc.st.com/"
SIGN_ON = "https://sso.st.com"
CLIENT_ID = "oidc_prod_client_app_stm32ai"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudHosts:
    """Addresses, without a slash at the end (but ``callback``, which is compared as it is)."""

    base: str
    sign_on: str
    client_id: str
    callback: str
    users: str
    files: str
    benchmarks: str
    optimizer: str
    versions: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> CloudHosts:
        """The public addresses, or what the environment variables of ST's client say.

        Raises:
            ServiceError: an address that is not encrypted and leads to another computer.
        """
        base = environment.get("BASE_URL_DEVCLOUD", BASE).rstrip("/")

        def at(variable: str, default: str) -> str:
            return environment.get(variable, default).rstrip("/")

        hosts = cls(
            base=base,
            sign_on=at("SSO_URL", SIGN_ON),
            client_id=environment.get("CLIENTID", CLIENT_ID),
            callback=environment.get("CALLBACK_URL", f"{base}/callback"),
            users=at("USER_SERVICE_URL", f"{base}/api/user_service"),
            files=at("FILE_SERVICE_URL", f"{base}/api/file"),
            benchmarks=at("BENCHMARK_SERVICE_URL", f"{base}/api/benchmark"),
            optimizer=at("GENERATE_NBG_SERVICE_URL", f"{base}/api/generate_nbg"),
            versions=at("VERSIONS_URL", f"{base}/assets/versions.json"),
        )
        for address in (hosts.base, hosts.sign_on, hosts.users, hosts.files, hosts.benchmarks, hosts.optimizer):
            require_encrypted(address)
        return hosts


def require_encrypted(address: str) -> None:
    """Refuses to send a password or a token over a line that anyone can read.

    Raises:
        ServiceError: the address is not https, and not of this computer either.
    """
    parts = urlsplit(address)
    if parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname or "")):
        return
    raise ServiceError(f"The address {address} is not encrypted (https); nothing was sent to it")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

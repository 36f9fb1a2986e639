"""Logging in: the steps that a browser takes on ST's sign-on page, the password sent once."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from reidfw_core.api import ServiceError
from reidfw_targets.cloud.credentials import HOW, Credentials, Token
from reidfw_targets.cloud.hosts import CloudHosts, require_encrypted

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) reidfw"}
"""The sign-on page serves browsers."""

MOST_REDIRECTS = 10

_REFUSALS = re.compile(r"attempt|block|lock|incorrect|invalid|wrong|fail|expired|denied", re.IGNORECASE)


def log_in(client: httpx.Client, hosts: CloudHosts, credentials: Credentials) -> Token:
    """Gets a token for name and password.

    Args:
        client: keeps cookies, follows no redirects.
        hosts: where.
        credentials: sent once, whatever the answer: accounts are blocked after a few wrong passwords.

    Raises:
        ServiceError: refused, or the page is not as it was.
    """
    page = _get_page(client, hosts)
    form = _Form()
    form.feed(page.text)
    if form.action is None:
        raise ServiceError(
            f"The sign-on page {page.url.copy_with(query=None)} holds no log-in form; ST may have changed it",
            hint="Log in with ST's own client, whose token is used too, or install ST Edge AI Core.",
        )
    action = urljoin(str(page.url), form.action)
    require_encrypted(action)
    answer = client.post(
        action,
        data={**form.hidden, "username": credentials.username, "password": credentials.password, "_eventId": "Login"},
        headers=BROWSER,
    )
    if answer.status_code == httpx.codes.OK:
        raise ServiceError(
            f"The developer cloud refused the log-in of {credentials.username} ({credentials.origin}): "
            f"{_refusal(answer.text)}",
            hint="The password was sent once. ST blocks an account after a few wrong ones, so check it before the next "
            f"try. {HOW}",
        )
    code = _follow(client, hosts, answer)
    given = client.post(f"{hosts.users}/login/callback", data={"redirect_url": hosts.callback, "code": code})
    _require_ok(given, "log-in")
    return Token.of_answer(_json(given, "log-in"))


def refresh(client: httpx.Client, hosts: CloudHosts, token: Token) -> Token | None:
    """A new token for an expired one, None where the cloud does not give it."""
    if token.refresh is None:
        return None
    answer = client.post(f"{hosts.users}/login/refresh", data={"refresh_token": token.refresh})
    if answer.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return None
    _require_ok(answer, "renewal of the log-in")
    return Token.of_answer(_json(answer, "renewal of the log-in"), token.refresh)


def _get_page(client: httpx.Client, hosts: CloudHosts) -> httpx.Response:
    page = client.get(
        f"{hosts.sign_on}/as/authorization.oauth2",
        params={
            "response_type": "code",
            "client_id": hosts.client_id,
            "scope": "openid",
            "redirect_uri": hosts.callback,
            "response_mode": "query",
        },
        headers=BROWSER,
        follow_redirects=True,
    )
    _require_ok(page, "sign-on page")
    return page


def _follow(client: httpx.Client, hosts: CloudHosts, answer: httpx.Response) -> str:
    """Goes from redirect to redirect until the cloud's own address, which carries the code."""
    for _ in range(MOST_REDIRECTS):
        location = answer.headers.get("location")
        if not answer.is_redirect or location is None:
            raise ServiceError(f"The developer cloud's log-in ended with status {answer.status_code} instead of a code")
        target = urljoin(str(answer.url), str(location))
        if target.startswith(hosts.callback):
            codes = parse_qs(urlsplit(target).query).get("code")
            if not codes:
                raise ServiceError("The developer cloud's log-in came back without a code")
            return str(codes[0])
        require_encrypted(target)
        answer = client.get(target, headers=BROWSER)
    raise ServiceError(f"The developer cloud's log-in did not end after {MOST_REDIRECTS} redirects")


def _require_ok(answer: httpx.Response, what: str) -> None:
    if answer.status_code != httpx.codes.OK:
        raise ServiceError(f"The developer cloud's {what} answered with status {answer.status_code}")


def _json(answer: httpx.Response, what: str) -> object:
    try:
        return answer.json()
    except ValueError as cause:
        raise ServiceError(f"The developer cloud's {what} answered with something that is no JSON") from cause


def _refusal(page: str) -> str:
    """What the page says about the refusal."""
    texts = _Texts()
    texts.feed(page)
    told = [text for text in texts.found if _REFUSALS.search(text)]
    return " ".join(told)[:300] or "it does not say why (wrong user name or password, most likely)"


class _Form(HTMLParser):
    """The first form that asks for a password: its address and hidden values."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.hidden: dict[str, str] = {}
        self._open: str | None = None
        self._hidden: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open, self._hidden = values.get("action", ""), {}
        elif tag == "input" and self._open is not None:
            kind = values.get("type", "").lower()
            if kind == "hidden" and values.get("name"):
                self._hidden[values["name"]] = values.get("value", "")
            elif kind == "password" and self.action is None:
                self.action, self.hidden = self._open, self._hidden  # what follows in the same form is added

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None


class _Texts(HTMLParser):
    """The pieces of text of a page, scripts and styles left out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._silent += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style") and self._silent > 0

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if text and not self._silent:
            self.found.append(text)

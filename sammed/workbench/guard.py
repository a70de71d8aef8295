"""Who may ask: this computer's own page with the token, and nobody else.

The server listens on the loopback interface, which every page in the browser and every user of the
computer can reach. What each check is against stands in ``docs/workbench-safety.md``.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

PROTOCOL = "sammed.1"
"""The WebSocket protocol that the server speaks."""

OPEN_PATHS = ("/", "/assets/", "/start/")
"""What needs no token: the page, which holds nothing secret, and the way to it."""

MOST_SOCKETS = 8

HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""Names under which a page on this computer is reached; a tunnel may change the port."""

CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "worker-src 'none'",
        "img-src 'self' blob: data:",
        "style-src 'self' 'unsafe-inline'",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=(), serial=()",
    "cache-control": "no-store",
}
"""Of every answer."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::\d{1,5})?")
_LOGGED = 200


class Token:
    """A secret of 128 bits, and a code that is exchanged for it once.

    The code is what the browser is started with: other users of the computer can read the
    arguments of a program.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_hex(16)
        self._code = secrets.token_urlsafe(16)
        self._spent = False

    @property
    def fragment(self) -> str:
        """What stands behind ``#`` in the address; browsers do not send it."""
        return f"token={self._secret}"

    @property
    def start_path(self) -> str:
        """The path that leads to the page with its token, once."""
        return f"/start/{self._code}"

    def redeem(self, code: str) -> bool:
        """Whether a code is the one; it is so once."""
        if self._spent or not _same(code, self._code):
            return False
        self._spent = True
        return True

    def spend(self) -> None:
        """Let the code be of no use any more."""
        self._spent = True

    def fits(self, given: str) -> bool:
        """Whether someone knows the secret; how long it takes tells nothing of it."""
        return _same(given, self._secret)


class Guard:
    """Stands before an ASGI application and lets through what may come.

    Parameters
    ----------
    app
        What is guarded.
    token
        What a page has to know.
    """

    def __init__(self, app: App, token: Token) -> None:
        self._app = app
        self._token = token
        self._sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse; every answer carries `HEADERS`."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif why := self._why_not(scope):
            await _refuse(scope, receive, _with_headers(send), *why)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._app(scope, receive, _with_headers(send))

    def _why_not(self, scope: Scope) -> tuple[int, str] | None:
        headers = _headers(scope)
        return (
            _check_host(headers)
            or _check_origin(headers)
            or _check_site(scope, headers)
            or self._check_token(scope, headers)
        )

    def _check_token(self, scope: Scope, headers: dict[str, list[str]]) -> tuple[int, str] | None:
        path: str = scope["path"]
        if scope["type"] == "websocket":
            given = _token_of_protocols(scope.get("subprotocols", ()))
        elif path == "/" or path.startswith(OPEN_PATHS[1:]):
            return None
        else:
            kind, _, given = headers.get("authorization", [""])[0].partition(" ")
            given = given if kind.lower() == "bearer" else ""
        if not self._token.fits(given):
            return 401, "the token of the address is missing or not the one of this start"
        return None

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._sockets >= MOST_SOCKETS:
            await _refuse(scope, receive, send, 429, "too many pages are open")
            return
        self._sockets += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._sockets -= 1


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode("ascii"))


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _check_host(headers: dict[str, list[str]]) -> tuple[int, str] | None:
    """Another name that leads here is another page's trick (DNS rebinding)."""
    hosts = headers.get("host", [])
    match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if match is None or match[1].lower() not in HOSTS:
        return 421, "this server is called 127.0.0.1 or localhost, and nothing else"
    return None


def _check_origin(headers: dict[str, list[str]]) -> tuple[int, str] | None:
    """Scripts of other pages say where they are from, also those on other ports."""
    for origin in headers.get("origin", []):
        if origin != f"http://{headers['host'][0]}":
            return 403, "a page from elsewhere asked for this"
    return None


def _check_site(scope: Scope, headers: dict[str, list[str]]) -> tuple[int, str] | None:
    """The same as browsers tell it of requests without an origin; links may lead to the page."""
    for site in headers.get("sec-fetch-site", []):
        navigates = headers.get("sec-fetch-mode") == ["navigate"]
        to_page = scope["path"] == "/" or scope["path"].startswith("/start/")
        if site not in ("same-origin", "none") and not (navigates and to_page):
            return 403, "a page from elsewhere asked for this"
    return None


def _token_of_protocols(protocols: Iterable[str]) -> str:
    offered = list(protocols)
    given = [text.removeprefix("token.") for text in offered if text.startswith("token.")]
    return given[0] if PROTOCOL in offered and len(given) == 1 else ""


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            ours = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in there]
            message = {**message, "headers": [*message["headers"], *ours]}
        await send(message)

    return guarded


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()  # its beginning, as the standard wants
        await send({"type": "websocket.close", "code": 1008, "reason": why[:_LOGGED]})
        return
    body = (why + "\n").encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

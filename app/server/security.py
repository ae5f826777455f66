"""Who may ask: Host, Origin and token of every request, and how large a body may be. An ASGI middleware."""

from __future__ import annotations

import hmac
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlencode, urlsplit

from livesam.app.server.metrics import Metrics
from livesam.app.server.settings import Settings

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "livesam"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OPEN_PATHS = ("/healthz", "/readyz")  # for whoever watches the server; they tell nothing
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
        b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
)


class Security:
    """Refuses what another site, or somebody without the token, asks for.

    A browser names the host that a page was loaded from in ``Host``, whatever its name resolves to, and the site that
    asks in ``Origin``. So a name that leads to this machine (DNS rebinding) is not one of ours, and another site's
    Origin is not the host that it asks.
    """

    def __init__(self, app: App, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._names = {"localhost", *(name.lower() for name in settings.hosts)}
        # A proxy that names itself in Origin, and this server in Host, has the usual ports.
        self._origins = {f"{scheme}://{name.lower()}" for name in settings.hosts for scheme in ("http", "https")}
        self._local = is_loopback(settings.host)
        if not self._local:
            self._names |= {settings.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http":
            send = self._counting(scope, send)
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        why = self._refusal(headers)
        if why is not None:
            await _refuse(scope, receive, send, 403, "forbidden", why)
            return
        if self._settings.token is not None and scope["path"] not in OPEN_PATHS:
            given = _query_token(scope)
            if scope["type"] == "http" and scope["method"] == "GET" and given and self._is_token(given):
                await _take_token(scope, send, given)
                return
            if not self._is_token(_token(headers)):
                why = "this server wants its token: open the address that it printed, or send Authorization: Bearer"
                await _refuse(scope, receive, send, 401, "unauthorized", why)
                return
        if scope["type"] == "http":
            await self._limited(scope, receive, send, headers)
        else:
            await self._app(scope, receive, send)

    def _counting(self, scope: Scope, send: Send) -> Send:
        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in METHODS else "other"
                self._metrics.requests.labels(method, str(message["status"])).inc()
            await send(message)

        return counted

    def _refusal(self, headers: dict[bytes, str]) -> str | None:
        host = headers.get(b"host", "")
        if not self._is_ours(host):
            return f"this server is not called {host[:100]!r}: name it with --allow-host if it is"
        origin = headers.get(b"origin")
        if origin is not None and not self._is_same(origin, host):
            return f"requests of pages from {origin[:100]!r} are refused"
        if headers.get(b"sec-fetch-site") in ("cross-site", "same-site") and not (
            headers.get(b"sec-fetch-mode") == "navigate" and headers.get(b"sec-fetch-dest") == "document"
        ):
            return "requests of other sites' pages are refused"
        return None

    def _is_ours(self, host: str) -> bool:
        name = _name(host)
        if name is None:
            return False
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._local  # a number cannot be rebound

    def _is_same(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if parts.scheme not in ("http", "https"):
            return False
        own = parts.netloc.lower() == host.lower()
        return own or origin.lower() in self._origins

    def _is_token(self, given: str | None) -> bool:
        wanted = self._settings.token
        return given is not None and wanted is not None and hmac.compare_digest(given.encode(), wanted.encode())

    async def _limited(self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, str]) -> None:
        """With a body of at most so many bytes, by what the request says and by what really comes."""
        limits = self._settings.limits
        most = (limits.import_mib if scope["path"].startswith("/api/import/") else limits.body_mib) << 20
        why = f"the body is larger than the {most >> 20} MiB that are taken"
        if headers.get(b"content-length", "0").isdecimal() and int(headers.get(b"content-length", "0")) > most:
            await _refuse(scope, receive, send, 413, "too_large", why)
            return
        seen, began = 0, False

        async def counted() -> MutableMapping[str, Any]:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            return message if seen <= most else {"type": "http.disconnect"}

        async def protected(message: MutableMapping[str, Any]) -> None:
            nonlocal began
            if seen > most and not began:
                return  # what the application says to half a body is not what is wrong with it
            if message["type"] == "http.response.start":
                began = True
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        try:
            await self._app(scope, counted, protected)
        except Exception:
            if seen <= most:
                raise
        if seen > most and not began:
            await _refuse(scope, receive, send, 413, "too_large", why)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str | None:
    """The name in a Host header, without the port; None where there is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _token(headers: dict[bytes, str]) -> str | None:
    kind, _, given = headers.get(b"authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return given.strip()
    try:
        found = SimpleCookie(headers.get(b"cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def _query_token(scope: Scope) -> str | None:
    found = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token")
    return found[0] if found else None


async def _take_token(scope: Scope, send: Send, token: str) -> None:
    """Move the token from the address, which histories keep, into a cookie that scripts cannot read."""
    rest = parse_qs(scope["query_string"].decode("latin-1"))
    rest.pop("token")
    query = urlencode(rest, doseq=True)
    # A path that begins with two slashes would lead to another host.
    place = "/" + scope["path"].lstrip("/\\") + (f"?{query}" if query else "")
    cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000"
    place_bytes = "".join(letter for letter in place if " " < letter < "\x7f").encode("latin-1")
    headers = [(b"location", place_bytes), (b"set-cookie", cookie.encode("latin-1")), *HEADERS]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, code: str, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()  # the connect
        await send({"type": "websocket.close", "code": 1008, "reason": why[:100]})
        return
    body = json.dumps({"error": {"code": code, "message": why}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *HEADERS]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

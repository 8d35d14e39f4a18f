"""The outermost layer of the daemon: who may speak to it, and how much they may send.

Web pages can make a browser send requests to 127.0.0.1, and DNS rebinding can make them look same-origin
(CVE-2024-28224, CVE-2025-66416). So every request, those for the page and its uploads included, must name a
host that is ours, come from our own origin when it names one, and carry the token when one is set.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant.daemon.errors import error_body
from assistant.settings import Settings

COOKIE = "damso_key"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104  (names that are refused as a Host)
# Enforced by the browser: whatever a document or an answer holds, the page cannot reach another machine.
_CONTENT_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_SECURITY_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Guards:
    """ASGI middleware: Host, Origin, token and body size, before anything else runs."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Wrap an application.

        Args:
            app: everything that is served.
            settings: host, allowed hosts, token and upload limit.
        """
        self._app = app
        self._token = settings.token
        self._limit = settings.max_upload_mb * 2**20
        names = {settings.host, *settings.allowed_hosts} - _WILDCARDS
        self._hosts = _LOOPBACK | {name.strip("[]").lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._pass_on(scope, receive, _with_security_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, _with_security_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._is_our_host(headers.getlist("host")):
            return _refuse(403, "forbidden_host", "허용되지 않은 호스트 이름으로 들어온 요청이에요.")
        if not _is_own_origin(headers.getlist("origin"), headers["host"]):
            return _refuse(403, "forbidden_origin", "다른 웹 페이지에서 보낸 요청은 받지 않아요.")
        if self._token is not None and not self._is_trusted(headers):
            return self._greet(scope) or _refuse(
                401, "invalid_token", "토큰이 없거나 달라요. DAMSO_TOKEN에 정한 값을 보내 주세요."
            )
        return None

    def _is_our_host(self, hosts: list[str]) -> bool:
        return len(hosts) == 1 and _host_name(hosts[0]) in self._hosts

    def _is_trusted(self, headers: Headers) -> bool:
        assert self._token is not None
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        by_header = scheme.lower() == "bearer" and _equal(sent.strip(), self._token)
        return by_header or _equal(_cookie(headers), _page_key(self._token))

    def _greet(self, scope: Scope) -> Response | None:
        """A browser that opens ``/?token=…`` gets a cookie, and an address without the token."""
        if scope["type"] != "http" or scope["method"] != "GET":
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"))
        token = dict(query).get("token", "")
        if self._token is None or not _equal(token, self._token):
            return None
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        # One slash only: `//host` would be an address of another machine.
        address = "/" + scope["path"].lstrip("/\\") + (f"?{rest}" if rest else "")
        response = RedirectResponse(address, 303)
        response.set_cookie(COOKIE, _page_key(self._token), httponly=True, samesite="strict")
        return response

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application with a body that cannot grow over the limit."""
        too_large = _refuse(
            413, "body_too_large", f"보낸 내용이 너무 커요. {self._limit >> 20} MB까지 보낼 수 있어요."
        )
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self._limit:
            await too_large(scope, receive, send)
            return
        body = _BoundedBody(receive, send, self._limit)
        try:
            await self._app(scope, body.receive, body.send)
        except _BodyTooLargeError:
            pass
        if body.is_over and not body.has_started:
            await too_large(scope, receive, send)


class _BodyTooLargeError(Exception):
    """The body went over the limit while it was being read."""


class _BoundedBody:
    """Counts what comes in; once it is too much, nothing that the application says goes out any more."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive, self._send, self._left = receive, send, limit
        self.is_over = self.has_started = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.is_over = True
            raise _BodyTooLargeError
        return message

    async def send(self, message: Message) -> None:
        if self.is_over and not self.has_started:
            return
        self.has_started = True
        await self._send(message)


def _host_name(host: str) -> str:
    """The name in ``name``, ``name:port``, ``[address]`` or ``[address]:port``; empty when malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    return parts.hostname or "" if parts.netloc == host and "@" not in host else ""


def _is_own_origin(origins: Iterable[str], host: str) -> bool:
    """Whether every Origin is this daemon itself, under the name that Host gives."""
    return all(origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower()) for origin in origins)


def _page_key(token: str) -> str:
    """What the page's cookie holds: proof of the token, not the token."""
    return hmac.new(token.encode(), b"damso page", hashlib.sha256).hexdigest()


def _cookie(headers: Headers) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _equal(sent: str, expected: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(sent.encode("utf-8", "surrogateescape"), expected.encode())


def _refuse(status: int, code: str, message: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(error_body(message, code, status), status, headers)


def _with_security_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _SECURITY_HEADERS.items():
                headers[name] = value
        await send(message)

    return guarded

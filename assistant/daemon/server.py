"""Starting the daemon: the address, checked before it is bound, and the server itself."""

from __future__ import annotations

import errno
import socket
import threading
import webbrowser
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI

from assistant.errors import SettingsError
from assistant.settings import Settings


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Serve until interrupted.

    Args:
        app: what `create_app` made.
        listener: what `bind` gave; closed at the end.
    """
    # No access log: addresses may carry the token.
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, ws="none", timeout_graceful_shutdown=5
    )
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def open_browser(settings: Settings, address: str) -> None:
    """Open the page, with the token when one is set, once the server has had a moment to start."""
    query = f"?token={quote(settings.token, safe='')}" if settings.token else ""
    threading.Timer(0.5, webbrowser.open, (address + query,)).start()


def bind(settings: Settings) -> socket.socket:
    """Take the address and port, before models are loaded, so that a fault shows at once.

    Raises:
        SettingsError: other machines could reach the address and no token is set, or it cannot be had.
    """
    if not settings.is_loopback and settings.token is None:
        raise SettingsError(
            f"{settings.host}은(는) 다른 컴퓨터에서도 들어올 수 있는 주소라서 토큰 없이는 열지 않아요.",
            "DAMSO_TOKEN에 긴 비밀 값을 정하거나, 이 컴퓨터에서만 쓰려면 --host 127.0.0.1로 열어 주세요.",
        )
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host.strip("[]"), settings.port, type=socket.SOCK_STREAM
        )[0]
        return socket.create_server(address, family=family, backlog=128)
    except OSError as error:
        raise _unavailable(settings, error) from error


def page_address(settings: Settings, port: int) -> str:
    """The page's address for a browser on this machine."""
    host = settings.host.strip("[]")
    if host in ("0.0.0.0", "::"):  # noqa: S104  (shown as loopback, not bound)
        host = "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _unavailable(settings: Settings, error: OSError) -> SettingsError:
    where = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return SettingsError(
            f"{where}은(는) 다른 프로그램이 쓰고 있어요.",
            "다른 포트로 열어 주세요. 예: damso serve --port 7861",
        )
    return SettingsError(
        f"{where}을(를) 열 수 없어요. ({error.strerror or error})", "주소와 포트를 확인해 주세요."
    )

"""Every route of the daemon, the page's included, under every kind of caller."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import Mount, Route

from app import mount_page
from assistant.daemon.application import create_app
from assistant.daemon.server import bind, page_address
from assistant.errors import SettingsError
from assistant.settings import Settings
from tests.assistant.doubles import CopyingAssistant, running

TOKEN = "a-long-secret"
RIGHT = {"authorization": f"Bearer {TOKEN}"}
CALLERS = {
    "no token": ({}, 401),
    "wrong token": ({"authorization": "Bearer a-long-secreT"}, 401),
    "wrong scheme": ({"authorization": f"Basic {TOKEN}"}, 401),
    "wrong cookie": ({"cookie": f"damso_key={TOKEN}"}, 401),
    "token in another alphabet": ({"authorization": "Bearer 비밀".encode()}, 401),
    "foreign host": ({**RIGHT, "host": "evil.example"}, 403),
    "host that begins like ours": ({**RIGHT, "host": "127.0.0.1.evil.example"}, 403),
    "host with a user": ({**RIGHT, "host": "127.0.0.1@evil.example"}, 403),
    "wildcard host": ({**RIGHT, "host": "0.0.0.0"}, 403),
    "foreign origin": ({**RIGHT, "origin": "https://evil.example"}, 403),
    "sandboxed origin": ({**RIGHT, "origin": "null"}, 403),
    "another local port": ({**RIGHT, "origin": "http://127.0.0.1:1"}, 403),
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, list[tuple[str, str]]]]:
    home: Path = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, port=0, token=TOKEN, allowed_hosts=("damso.local",))
    with CopyingAssistant.open(settings) as assistant:
        app = create_app(assistant, settings)
        mount_page(app, assistant, settings)
        with running(app, settings) as url, httpx.Client(base_url=url, timeout=20) as client:
            yield client, list(routes_of(app.routes))


def routes_of(routes: list, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every method and path of a route table, mounted applications included."""
    for route in routes:
        if isinstance(route, Mount):
            yield "GET", prefix + route.path + "/index.html"
            yield from routes_of(route.routes, prefix + route.path)
        elif isinstance(route, Route):
            path = (prefix + route.path).replace("{", "").replace("}", "").replace(":path", "")
            yield from ((method, path) for method in route.methods)
        else:
            # FastAPI keeps an included router as one entry.
            yield from routes_of(route.original_router.routes, prefix)


def test_the_table_holds_the_api_and_the_page(guarded: tuple) -> None:
    _, routes = guarded
    assert {("POST", "/v1/chat/completions"), ("POST", "/v1/documents"), ("GET", "/healthz")} <= set(routes)
    assert ("POST", "/gradio_api/upload") in routes
    assert len(routes) > 30


@pytest.mark.parametrize("caller", CALLERS)
def test_no_route_serves_a_stranger(guarded: tuple, caller: str) -> None:
    client, routes = guarded
    headers, status = CALLERS[caller]
    for method, path in routes:
        response = client.request(method, path, headers=headers)
        assert response.status_code == status, (method, path)
        assert "access-control-allow-origin" not in response.headers
        assert method == "HEAD" or set(response.json()) == {"error"}


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models", "/v1/documents", "/config", "/theme.css"])
@pytest.mark.parametrize("host", [None, "localhost:7860", "[::1]:7860", "DAMSO.local"])
def test_the_right_caller_is_served(guarded: tuple, path: str, host: str | None) -> None:
    client, _ = guarded
    headers = RIGHT if host is None else {**RIGHT, "host": host, "origin": f"http://{host}"}
    response = client.get(path, headers=headers)
    assert response.status_code == 200
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]


def test_the_token_in_the_address_becomes_a_cookie_and_disappears(guarded: tuple) -> None:
    client, _ = guarded
    greeted = client.get("/", params={"token": TOKEN, "__theme": "dark"})
    assert (greeted.status_code, greeted.headers["location"]) == (303, "/?__theme=dark")
    cookie = greeted.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    client.cookies.clear()
    assert client.get("/healthz", headers={"cookie": cookie.partition(";")[0]}).status_code == 200
    assert client.get("/", params={"token": "wrong"}).status_code == 401
    assert (
        client.get(f"{client.base_url}/evil.example", params={"token": TOKEN}).headers["location"]
        == "/evil.example"
    )
    client.cookies.clear()


def test_the_page_holds_no_foreign_source(guarded: tuple) -> None:
    import re

    client, _ = guarded
    text = client.get("/", headers=RIGHT).text + client.get("/theme.css", headers=RIGHT).text
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//[^\"'\s>]+|url\([\"']?(?:https?:)?//", text)
    assert '"analytics_enabled":false' in text.replace(" ", "").lower()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_machines_need_a_token(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError, match="토큰"):
        bind(Settings(home=tmp_path, host=host, port=0))


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with bind(Settings(home=tmp_path, port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(SettingsError, match="다른 프로그램"):
            bind(Settings(home=tmp_path, port=port))


@pytest.mark.parametrize(
    ("host", "address"),
    [("0.0.0.0", "http://127.0.0.1:7/"), ("::1", "http://[::1]:7/"), ("localhost", "http://localhost:7/")],
)
def test_the_address_shown_can_be_opened_here(tmp_path: Path, host: str, address: str) -> None:
    assert page_address(Settings(home=tmp_path, host=host, token=TOKEN), 7) == address

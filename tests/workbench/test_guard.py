"""Who may ask: each refusal fails when its check is taken out."""

from __future__ import annotations

import http.client
import re
import socket
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from sammed.errors import InputError
from sammed.workbench import guard
from sammed.workbench import server as servers
from sammed.workbench.guard import HEADERS, Token
from sammed.workbench.server import check_host
from tests.workbench.conftest import fetch

PATHS = [
    "/api/volume", "/api/upload/x", "/api/upload-done", "/api/upload-beside", "/",
    "/assets/index.js",
]  # fmt: skip


@pytest.fixture
def server(start, scan, tmp_path):
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html><title>sammed</title>")
    (page / "assets" / "index.js").write_text("1")
    (page / "secret.js").write_text("2")
    return start(scan, page_folder=page)


def bearer(server):
    return {"Authorization": f"Bearer {server.address.split('=')[1]}"}


def knock(server, origin=None, protocols=None, **headers):
    """Try to open the socket; it is closed at once."""
    token = server.address.split("=")[1]
    connect(
        server.base.replace("http", "ws") + "/api/socket",
        subprotocols=protocols or ["sammed.1", f"token.{token}"],
        origin=origin or server.base,
        additional_headers=headers,
        open_timeout=10,
    ).close()


def test_the_page_needs_no_token_and_everything_else_does(server):
    assert fetch(server.base, "/")[0] == 200
    status, headers, body = fetch(server.base, "/assets/index.js")
    assert (status, body) == (200, b"1")
    assert headers["content-type"].startswith("text/javascript")
    assert fetch(server.base, "/api/volume", headers=bearer(server))[0] == 200
    for path in ("/api/volume", "/nothing"):
        status, _, body = fetch(server.base, path)
        assert status == 401
        assert b"token" in body
    for path in ("/api/upload/x", "/api/upload-done", "/api/upload-beside"):
        assert fetch(server.base, path, "POST", b"1", {"X-Sammed-Drop": "a"})[0] == 401


@pytest.mark.parametrize("given", ["Bearer ", "Bearer 0123", "Basic {}", "Bearer {}0", "{}"])
def test_a_wrong_token_is_none(server, given):
    token = server.address.split("=")[1]
    headers = {"Authorization": given.format(token)}
    assert fetch(server.base, "/api/volume", headers=headers)[0] == 401


def test_a_token_in_the_query_or_a_cookie_is_none(server):
    token = server.address.split("=")[1]
    assert fetch(server.base, f"/api/volume?token={token}")[0] == 401
    assert fetch(server.base, "/api/volume", headers={"Cookie": f"token={token}"})[0] == 401


@pytest.mark.parametrize(
    "protocols",
    [["sammed.1"], ["sammed.1", "token.0123"], ["sammed.1", "token."], ["sammed.1", "token.é"]],
)
def test_a_socket_needs_the_token(server, protocols):
    if "é" in protocols[-1]:
        protocols = ["sammed.1", "token.%C3%A9"]
    with pytest.raises(InvalidStatus) as refused:
        knock(server, protocols=protocols)
    assert refused.value.response.status_code == 403
    knock(server)


def test_a_socket_of_another_protocol_is_refused(server):
    token = server.address.split("=")[1]
    with pytest.raises(InvalidStatus):
        knock(server, protocols=["sammed.2", f"token.{token}"])


def raw(server, lines):
    """The status of a request that is written by hand."""
    host, port = server.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(re.match(rb"HTTP/1.1 (\d+)", line.recv(1000))[1])


@pytest.mark.parametrize("path", ["/", "/assets/index.js", "/api/volume"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{}", "127.0.0.1.evil.example:{}", "10.0.0.1", "", "["]
)
def test_another_name_of_this_server_is_refused(server, host, path):
    """DNS rebinding: a page whose name was made to lead here."""
    port = server.base.rpartition(":")[2]
    authorization = f"Authorization: {bearer(server)['Authorization']}"
    lines = [f"GET {path} HTTP/1.1", f"Host: {host.format(port)}", authorization]
    assert raw(server, lines) in (400, 421)


def test_two_names_or_none_are_refused(server):
    lines = ["GET / HTTP/1.1", "Host: 127.0.0.1", "Host: evil.example"]
    assert raw(server, lines) in (400, 421)
    assert raw(server, ["GET / HTTP/1.0"]) == 421


def test_a_tunnel_may_come_from_another_port(server):
    assert fetch(server.base, "/", headers={"Host": "localhost:9999"})[0] == 200


def test_a_socket_under_another_name_is_refused(server):
    host, port = server.base.removeprefix("http://").split(":")
    token = server.address.split("=")[1]
    line = http.client.HTTPConnection(host, int(port), timeout=10)
    headers = {
        "Host": "evil.example",
        "Origin": "http://evil.example",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": f"sammed.1, token.{token}",
    }
    line.request("GET", "/api/socket", headers=headers)
    assert line.getresponse().status == 403
    line.close()


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1", ""]
)
def test_scripts_of_other_pages_are_refused(server, origin):
    """Also those of other servers on this computer, and of files."""
    headers = {**bearer(server), "Origin": origin}
    assert fetch(server.base, "/api/volume", headers=headers)[0] == 403
    assert fetch(server.base, "/api/upload-done", "POST", b"", headers)[0] == 403
    if origin:
        with pytest.raises(InvalidStatus) as refused:
            knock(server, origin=origin)
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_the_browser_says_comes_from_elsewhere_is_refused(server, site):
    """A picture or script of another page brings no origin."""
    elsewhere = {**bearer(server), "Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    for path in ("/", "/assets/index.js", "/api/volume"):
        assert fetch(server.base, path, headers=elsewhere)[0] == 403
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert fetch(server.base, "/", headers=link)[0] == 200
    assert fetch(server.base, "/api/volume", headers={**bearer(server), **link})[0] == 403
    with pytest.raises(InvalidStatus):
        knock(server, **{"Sec-Fetch-Site": site})
    for site_of_ours in ("same-origin", "none"):
        ours = {**bearer(server), "Sec-Fetch-Site": site_of_ours}
        assert fetch(server.base, "/api/volume", headers=ours)[0] == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_other_methods_are_refused(server, method):
    assert fetch(server.base, "/api/volume", method, headers=bearer(server))[0] == 405
    assert fetch(server.base, "/", method)[0] == 405


@pytest.mark.parametrize(
    ("path", "status"), [("/", 200), ("/api/volume", 401), ("/assets/none.js", 404)]
)
def test_every_answer_carries_the_policy(server, path, status):
    found, headers, _ = fetch(server.base, path)
    assert found == status
    for name, value in HEADERS.items():
        assert headers[name] == value
    assert "server" not in headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "script-src 'self';" in policy
    assert "http:" not in policy
    assert "ws:" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../secret.js",
        "/assets/..%2Fsecret.js",
        "/assets/%2e%2e/secret.js",
        "/assets//etc/passwd",
        "/assets/%2Fetc%2Fpasswd",
        "/assets/a\\..\\..\\secret.js",
        "/assets/",
        "/assets/%00",
    ],
)
def test_assets_are_the_pages_own(server, path):
    status, _, body = fetch(server.base, path.replace("\\", "%5C"))
    assert status in (401, 404)
    assert body != b"2"


def test_links_among_the_assets_lead_nowhere_else(server, tmp_path):
    link = tmp_path / "page" / "assets" / "link.js"
    link.symlink_to(tmp_path / "page" / "secret.js")
    assert fetch(server.base, "/assets/link.js")[0] == 404


def test_a_page_that_is_not_built_says_how(start, scan, tmp_path):
    server = start(scan, page_folder=tmp_path / "none")
    status, headers, body = fetch(server.base, "/")
    assert status == 503
    assert b"make open" in body
    assert headers["content-security-policy"]


def test_the_token_is_128_bits_and_never_twice_the_same():
    tokens = {Token().fragment for _ in range(50)}
    assert len(tokens) == 50
    assert all(re.fullmatch(r"token=[0-9a-f]{32}", fragment) for fragment in tokens)


def test_tokens_are_compared_in_constant_time(monkeypatch):
    token, asked = Token(), []
    compare = guard.hmac.compare_digest

    def watched(a, b):
        asked.append((a, b))
        return compare(a, b)

    monkeypatch.setattr(guard.hmac, "compare_digest", watched)
    assert token.fits(token.fragment.removeprefix("token="))
    assert not token.fits("0" * 32)
    assert not token.fits("\udcff")
    assert len(asked) == 3


def test_the_browser_is_led_to_the_token_once(server):
    """Its arguments can be read by other users of the computer."""
    assert fetch(server.base, "/start/guess")[0] == 410


def test_a_code_is_of_use_once_and_not_after_a_page_came():
    token = Token()
    code = token.start_path.removeprefix("/start/")
    assert "token" not in token.start_path
    assert not token.redeem(code + "x")
    assert token.redeem(code)
    assert not token.redeem(code)
    other = Token()
    other.spend()
    assert not other.redeem(other.start_path.removeprefix("/start/"))


def test_the_browser_is_started_without_the_token(monkeypatch, scan, home):
    import threading

    from sammed.workbench import Wishes, server
    from tests.workbench.conftest import Page, Stubs

    monkeypatch.setenv("DISPLAY", ":0")
    opened, told = [], []
    ready = threading.Event()
    monkeypatch.setattr(server.webbrowser, "open", lambda url: (opened.append(url), ready.set()))
    work = threading.Thread(
        target=server.serve,
        args=(Wishes(paths=(scan,)),),
        kwargs={"say": told.append, "engine": Stubs()},
    )
    work.start()
    assert ready.wait(20)
    base, token = told[0].split("/#token=")
    assert token not in opened[0]
    status, headers, _ = fetch(base, opened[0].removeprefix(base))
    assert (status, headers["location"]) == (303, f"/#token={token}")
    assert fetch(base, opened[0].removeprefix(base))[0] == 410
    page = Page(told[0])
    page.hello()
    page.ask("quit")
    work.join(20)


def test_no_browser_takes_the_terminal(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(servers.sys, "platform", "linux")
    assert not servers.may_browse()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert servers.may_browse()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", "*", ""])
def test_other_hosts_are_refused_with_the_way_round(host):
    with pytest.raises(InputError, match=r"ssh -L 8123:127\.0\.0\.1:8123"):
        check_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_this_computer_is_a_host(host):
    check_host(host)


def test_no_more_than_some_pages_at_once(server, monkeypatch):
    monkeypatch.setattr(guard, "MOST_SOCKETS", 2)
    pages = [server.page(str(n)) for n in range(2)]
    with pytest.raises(InvalidStatus):
        knock(server)
    pages[0].close()
    for _ in range(100):
        try:
            knock(server)
            break
        except InvalidStatus:
            continue
    else:
        pytest.fail("a place that is free again is not given")


@pytest.mark.thorough
def test_nothing_of_the_token_is_logged(process, scan):
    server = process(scan, "--model", "two_class", "-v")
    page = server.page()
    page.hello()
    page.get("/api/volume")
    fetch(page.base, "/api/volume", headers={"Authorization": "Bearer wrong"})
    page.ask("quit")
    out, err = server.process.communicate(timeout=60)
    assert page.token not in out + err
    assert not Path(scan.parent).joinpath("ct.labels.sammed-journal.jsonl").exists()

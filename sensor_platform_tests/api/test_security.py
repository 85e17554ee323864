"""Who is let in: the token, the Host header, the Origin header; on the WebSocket too."""

import socket
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from sensor_platform_tests.api.served import TOKEN, Served

GUARDED = [
    ("GET", "/api/mqtt"),
    ("POST", "/api/mqtt"),
    ("DELETE", "/api/mqtt"),
    ("POST", "/api/mqtt/publish"),
    ("GET", "/api/mqtt/deadletter"),
    ("DELETE", "/api/mqtt/deadletter"),
    ("POST", "/api/mqtt/deadletter/retry"),
    ("GET", "/api/figures"),
    ("GET", "/api/readings"),
    ("GET", "/api/alerts"),
    ("GET", "/nothing/is/here"),
]


def test_nothing_but_health_and_the_page_answers_without_the_token(served: Served) -> None:
    for given in (None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x"):
        headers = {} if given is None else {"Authorization": given}
        for method, path in GUARDED:
            answer = httpx.request(method, f"http://127.0.0.1:{served.port}{path}", headers=headers, trust_env=False)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), (method, path, given)
            assert answer.json()["error"]["where"] == path
    del served.http.headers["Authorization"]
    assert served.http.get("/api/mqtt/health").json()["parts"]["database"] == "answers"
    assert "<title>Sensor platform</title>" in served.http.get("/").text


def test_the_page_may_only_run_its_own_script_and_talk_to_us(served: Served) -> None:
    answer = served.http.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "127.0.0.1", ""])
def test_another_host_is_refused_token_or_not(served: Served, host: str) -> None:
    for path in ("/", "/api/mqtt/health", "/api/mqtt"):
        answer = served.http.get(path, headers={"Host": host.format(port=served.port)})
        assert answer.status_code == 421


def test_every_name_of_loopback_is_us(served: Served) -> None:
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        assert served.http.get("/", headers={"Host": f"{name}:{served.port}"}).status_code == 200


def test_another_origin_is_refused(served: Served) -> None:
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{served.port}", "http://127.0.0.1:1"):
        assert served.http.get("/api/mqtt", headers={"Origin": origin}).status_code == 403
    own = {"Origin": f"http://localhost:{served.port}"}
    assert served.http.get("/api/mqtt", headers=own).status_code == 200


def test_the_socket_refuses_other_hosts_and_origins_before_it_opens(served: Served) -> None:
    url = f"ws://127.0.0.1:{served.port}/ws"
    token = {"Authorization": f"Bearer {TOKEN}"}
    for uri, origin in ((url, "http://evil.example"), (f"ws://evil.example:{served.port}/ws", None)):
        line = socket.create_connection(("127.0.0.1", served.port))
        options: dict[str, Any] = {"origin": origin, "additional_headers": token, "sock": line}
        with pytest.raises(InvalidStatus) as caught, connect(uri, **options):
            pass
        assert caught.value.response.status_code == 403
    with connect(url, origin=f"http://127.0.0.1:{served.port}", proxy=None) as client:  # type: ignore[call-overload]
        client.send(f'{{"token": "{TOKEN}"}}')
        client.send('{"subscribe": ["#"]}')
        assert client.recv(5) == '{"type":"subscribed","channels":["#"]}'


def test_the_socket_closes_on_a_wrong_token(served: Served) -> None:
    for first in ('{"token": "wrong"}', '{"token": 7}', '{"subscribe": ["#"]}'):
        with served.socket(token=None) as client:
            client.send(first)
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(5)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 4401

"""Who gets in: every request but health needs a token or a session, and only from the box's own name and pages."""

import http.client
import re

import pytest
import requests

from box import Box

OPEN = ("/healthz", "/apis/v2beta1/healthz", "/pipeline/apis/v2beta1/healthz")
CLOSED = (
    "/apis/v2beta1/runs", "/apis/v2beta1/pipelines", "/apis/v2beta1/experiments", "/pipeline/apis/v2beta1/runs",
    "/api/v1/namespaces/kubeflow/pods", "/apis/pipelines.kubeflow.org/v2beta1/namespaces/kubeflow/runs?watch=true",
    "/api/v1/namespaces/kubeflow/pods/x/log", "/artifacts/minio/mlpipeline/x", "/metrics", "/apis", "/api",
    "/apis/nothing/here",
)  # fmt: skip


def session(box: Box) -> tuple[requests.Session, requests.Response]:
    browser = requests.Session()
    return browser, browser.post(f"{box.url}/auth/login", json={"token": box.token})


@pytest.mark.parametrize("path", OPEN)
def test_health_is_open(box: Box, path: str) -> None:
    assert requests.get(box.url + path, timeout=10).status_code == 200


@pytest.mark.parametrize("path", CLOSED)
def test_all_else_is_closed(box: Box, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}, {"Cookie": "kfbox_session=x"}):
        answer = requests.get(box.url + path, headers=headers, timeout=20)
        assert answer.status_code in (401, 403), (path, headers, answer.status_code)
        assert box.token not in answer.text
    assert requests.post(box.url + path, json={}, timeout=10).status_code == 401


def test_the_page_itself_is_open_but_empty(box: Box) -> None:
    page = requests.get(f"{box.url}/runs", timeout=10)
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors" in policy
    assert page.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "localhost.evil.example"])
def test_foreign_host_names_get_nothing(box: Box, host: str) -> None:
    address = box.url.removeprefix("http://")
    for path in ("/healthz", "/apis/v2beta1/runs", "/"):
        connection = http.client.HTTPConnection(address)
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", host)
        connection.putheader("Authorization", f"Bearer {box.token}")
        connection.endheaders()
        assert connection.getresponse().status in (400, 403), (host, path)


def test_session_cookie(box: Box) -> None:
    browser, login = session(box)
    assert login.status_code == 200
    cookie = login.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie and "Domain" not in cookie
    assert box.token not in cookie
    own = {"Sec-Fetch-Site": "same-origin"}
    runs = f"{box.url}/apis/v2beta1/runs"
    assert browser.get(runs, headers=own, timeout=10).status_code == 200
    assert browser.post(f"{box.url}/auth/logout", headers=own | {"Origin": box.url}, timeout=10).status_code == 200
    value = re.match(r"kfbox_session=([^;]+)", cookie)[1]
    stolen = requests.get(runs, headers=own | {"Cookie": f"kfbox_session={value}"}, timeout=10)
    assert stolen.status_code == 401, "logged out means logged out"


def test_other_pages_cannot_use_the_cookie(box: Box) -> None:
    browser, _ = session(box)
    create = f"{box.url}/apis/v2beta1/experiments"
    body = {"display_name": "forged"}
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none", "Origin": "http://evil.example"},
        {},
    ):
        assert browser.post(create, json=body, headers=headers, timeout=10).status_code == 403, headers
    own = {"Origin": box.url, "Sec-Fetch-Site": "same-origin"}
    assert browser.post(create, json=body, headers=own, timeout=10).status_code == 200
    form = browser.post(create, data="display_name=x", headers=own | {"Content-Type": "text/plain"}, timeout=10)
    assert form.status_code in (400, 415), "bodies are JSON"


def test_login_from_another_page(box: Box) -> None:
    answer = requests.post(f"{box.url}/auth/login", json={"token": box.token}, headers={"Origin": "http://evil.example"}, timeout=10)
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


def test_no_door_for_foreign_scripts(box: Box) -> None:
    answer = box.call("OPTIONS", "/apis/v2beta1/runs", headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"})
    assert "access-control-allow-origin" not in answer.headers


def test_it_listens_on_loopback_and_the_containers_bridge_only(box: Box) -> None:
    """As /proc tells of the daemon's own sockets."""
    import os
    import socket
    import struct

    fds = f"/proc/{box.daemon.pid}/fd"
    sockets = {os.readlink(f"{fds}/{fd}") for fd in os.listdir(fds) if os.path.exists(f"{fds}/{fd}")}
    addresses = set()
    for line in open("/proc/net/tcp").read().splitlines()[1:]:
        field = line.split()
        if field[3] == "0A" and f"socket:[{field[9]}]" in sockets:
            addresses.add(socket.inet_ntoa(struct.pack("<I", int(field[1].split(":")[0], 16))))
    for line in open("/proc/net/tcp6").read().splitlines()[1:]:
        field = line.split()
        assert not (field[3] == "0A" and f"socket:[{field[9]}]" in sockets), "an IPv6 listener"
    assert "127.0.0.1" in addresses and "0.0.0.0" not in addresses
    assert all(address == "127.0.0.1" or address.startswith(("172.", "192.168.", "10.")) for address in addresses)


def test_metrics(box: Box) -> None:
    text = box.call("GET", "/metrics").text
    for metric in ("kfbox_http_requests", "kfbox_pod_ready_to_create_seconds", "kfbox_pod_engine_start_seconds"):
        assert metric in text

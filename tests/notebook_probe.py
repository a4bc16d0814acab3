"""Talks to a notebook server as a browser would: notebook_probe.py URL CODE. For tests/images.sh.

Makes a terminal and a kernel through the REST API with the cookie against forged requests, runs CODE in the kernel
over its WebSocket, types a command into the terminal, and prints what both said.
"""

import json
import sys
import time
import urllib.parse
import uuid

import requests
import websocket

base, code = sys.argv[1].rstrip("/"), sys.argv[2]
session = requests.Session()
session.trust_env = False
session.get(f"{base}/lab", timeout=60).raise_for_status()
session.headers["X-XSRFToken"] = session.cookies["_xsrf"]


def connect(path):
    cookie = "; ".join(f"{c.name}={c.value}" for c in session.cookies)
    origin = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(base))
    return websocket.create_connection(base.replace("http", "ws", 1) + path, cookie=cookie, origin=origin, timeout=120)


def refused():
    """Without the cookie's value in a header, nothing is made."""
    return requests.post(f"{base}/api/terminals", proxies={"http": ""}, timeout=30).status_code == 403


def terminal():
    answer = session.post(f"{base}/api/terminals", timeout=30)
    answer.raise_for_status()
    socket, said = connect(f"/terminals/websocket/{answer.json()['name']}"), ""
    socket.send(json.dumps(["stdin", "echo $((6 * 7))-$(id -u)-$PWD\r"]))
    until = time.monotonic() + 30
    while time.monotonic() < until:
        kind, *rest = json.loads(socket.recv())
        said += rest[0] if kind == "stdout" else ""
        if f"42-" in said:
            return "42-" + said.split("42-", 1)[1].split()[0]
    raise SystemExit(f"the terminal did not answer: {said!r}")


def kernel():
    answer = session.post(f"{base}/api/kernels", json={"name": "python3"}, timeout=60)
    answer.raise_for_status()
    name = answer.json()["id"]
    socket, ask, said = connect(f"/api/kernels/{name}/channels"), str(uuid.uuid4()), ""
    header = {"msg_id": ask, "msg_type": "execute_request", "session": str(uuid.uuid4()), "username": "", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "stop_on_error": True}
    socket.send(json.dumps({"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}))
    while True:
        message = json.loads(socket.recv())
        if message["parent_header"].get("msg_id") != ask:
            continue
        if message["msg_type"] == "stream":
            said += message["content"]["text"]
        elif message["msg_type"] == "error":
            raise SystemExit("the kernel said: " + "\n".join(message["content"]["traceback"]))
        elif message["msg_type"] == "execute_reply":
            break
    listed = [k["id"] for k in session.get(f"{base}/api/kernels", timeout=30).json()]
    assert name in listed, f"/api/kernels does not list {name}"
    session.delete(f"{base}/api/kernels/{name}", timeout=30).raise_for_status()
    return said


print("refused", refused())
print("terminal", terminal())
print("kernel", kernel())

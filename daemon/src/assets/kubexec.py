"""Runs a command in another Pod through the box, as `kubectl exec -i` does; needs only Python's standard library.

    kubexec.py POD [--container NAME] [--] COMMAND...

COMMAND is run by /bin/sh -c in the Pod. Standard input, output and errors are relayed; the exit code is the command's.
"""

import base64
import json
import os
import socket
import ssl
import struct
import sys
import threading
import urllib.parse

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/"
STDIN, STDOUT, STDERR, ERROR = range(4)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def fail(message):
    sys.exit("kubexec.py: " + message)


def read(name):
    try:
        with open(ACCOUNT + name) as file:
            return file.read().strip()
    except OSError as e:
        fail("%s: %s; the Pod needs its service account's folder" % (ACCOUNT + name, e.strerror))


class Socket:
    """A WebSocket, client side."""

    def __init__(self, path, token):
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        try:
            raw = socket.create_connection((host, int(port)), timeout=30)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = ssl.create_default_context(cafile=ACCOUNT + "ca.crt")
            self.sock = context.wrap_socket(raw, server_hostname=host)
        except (OSError, ValueError) as e:
            fail("cannot reach the box at %s:%s: %s" % (host, port, e))
        # A TLS connection is not safe to write from two threads at once.
        self.sending = threading.Lock()
        self.buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET %s HTTP/1.1" % path,
            "Host: %s:%s" % (host, port),
            "Authorization: Bearer " + token,
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: " + key,
            "Sec-WebSocket-Protocol: v4.channel.k8s.io",
        ]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.greet()
        self.sock.settimeout(None)

    def greet(self):
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        if status.split(" ")[1:2] == ["101"]:
            return
        body = self.buffer
        self.sock.settimeout(1)
        try:
            while len(body) < 65536:
                more = self.sock.recv(4096)
                if not more:
                    break
                body += more
        except OSError:
            pass
        try:
            said = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["message"]
        except (ValueError, KeyError):
            said = status
        fail("the box refused: " + said)

    def fill(self):
        more = self.sock.recv(65536)
        if not more:
            raise EOFError("the connection was closed")
        self.buffer += more

    def take(self, count):
        while len(self.buffer) < count:
            self.fill()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def send(self, kind, data):
        head = bytes([0x80 | kind])
        if len(data) < 126:
            head += bytes([0x80 | len(data)])
        elif len(data) < 65536:
            head += struct.pack("!BH", 0x80 | 126, len(data))
        else:
            head += struct.pack("!BQ", 0x80 | 127, len(data))
        # The mask of zeros is a valid one, and leaves the bytes as they are: TLS hides them already.
        with self.sending:
            self.sock.sendall(head + b"\0\0\0\0" + data)

    def receive(self):
        """The next whole message, or None at the end."""
        message = b""
        while True:
            first, second = self.take(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", self.take(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self.take(8))
            data = self.take(size)
            kind = first & 0x0F
            if kind == CLOSE:
                return None
            if kind == PING:
                self.send(PONG, data)
            elif kind != PONG:
                message += data
                if first & 0x80:
                    return message


def feed(socket):
    """Relays standard input. Version 4 of the protocol cannot tell its end: the command does not learn of it."""
    try:
        while True:
            data = os.read(0, 32768)
            if not data:
                return
            socket.send(BINARY, bytes([STDIN]) + data)
    except OSError:
        return


def code_of(status):
    """The exit code in the Status that ends an exec."""
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode":
            return int(cause.get("message") or 1)
    sys.stderr.write("kubexec.py: %s\n" % status.get("message", "the command could not be run"))
    return 1


def write(fd, data):
    while data:
        data = data[os.write(fd, data) :]


def main(args):
    if len(args) < 2:
        fail("usage: kubexec.py POD [--container NAME] [--] COMMAND...")
    pod, args, container = args[0], args[1:], None
    if args[0] == "--container" and len(args) > 1:
        container, args = args[1], args[2:]
    if args and args[0] == "--":
        args = args[1:]
    if args[:2] == ["/bin/sh", "-c"]:
        args = args[2:]
    query = [("command", "/bin/sh"), ("command", "-c"), ("command", " ".join(args))]
    query += [("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
    if container:
        query.append(("container", container))
    path = "/api/v1/namespaces/%s/pods/%s/exec?%s" % (read("namespace"), pod, urllib.parse.urlencode(query))
    socket = Socket(path, read("token"))
    threading.Thread(target=feed, args=(socket,), daemon=True).start()
    code = None
    try:
        while True:
            message = socket.receive()
            if message is None:
                break
            channel, data = message[0] if message else None, message[1:]
            if channel in (STDOUT, STDERR):
                write(channel, data)
            elif channel == ERROR and data:
                code = code_of(json.loads(data))
    except (EOFError, OSError) as e:
        if code is None:
            fail("%s: %s" % (pod, e))
    if code is None:
        fail("%s: the connection ended before the command" % pod)
    sys.stdout.flush()
    # The thread that reads standard input may be blocked for ever: leave without it.
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])

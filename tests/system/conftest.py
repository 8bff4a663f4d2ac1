"""Fixtures of the system tests: a Penfold of one's own, on free ports and a fresh data directory.

A test that wants other flags calls `penfold("--lmtp", "127.0.0.1:0" …)`; port 0 is replaced by a free one.
Nothing sleeps for a fixed time: `wait_until` polls a condition within a bound.
"""
import http.client
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))
PENFOLD = os.path.join(BUILD, "penfold")
SOAK = os.environ.get("SOAK") == "1"


given = set()


def free_port():
    """A port nobody listens on, and that was not handed out before."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        if port not in given:
            given.add(port)
            return port


def wait_until(condition, limit=20.0, what="the condition"):
    """The first true value of condition(); fails when there is none within `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {limit} s")
        time.sleep(0.01)


def children(pid):
    """{role name: [pids]} of the processes below a supervisor."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = open(f"/proc/{entry}/stat").read()
            name = stat[stat.index("(") + 1:stat.rindex(")")]
            if int(stat[stat.rindex(")") + 2:].split()[1]) == pid:
                found.setdefault(name, []).append(int(entry))
        except (OSError, ValueError):
            pass
    return found


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket, where root is the administrator."""

    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


class Penfold:
    """One running `penfold sandbox` (or other command)."""

    def __init__(self, data, args=(), env=None, command="sandbox", ports=True):
        self.data = str(data)
        self.smtp, self.smtps, self.lmtp, self.http = (free_port() for _ in range(4))
        argv = [PENFOLD, command]
        if ports:
            defaults = {"--data": self.data, "--smtp": f"127.0.0.1:{self.smtp}", "--smtps": f"127.0.0.1:{self.smtps}",
                        "--lmtp": f"127.0.0.1:{self.lmtp}", "--http": f"127.0.0.1:{self.http}"}
            for flag, value in defaults.items():
                if flag not in args:
                    argv += [flag, value]
        self.argv = argv + list(args)
        self.env = dict(os.environ, **(env or {}))
        self.process = None
        self.log = os.path.join(os.path.dirname(self.data) or ".", f"log-{self.smtp}")

    def start(self, limit=30):
        self.process = subprocess.Popen(self.argv, stdout=subprocess.PIPE, stderr=open(self.log, "a"), stdin=subprocess.DEVNULL, env=self.env)
        wait_until(lambda: self.ready() or self.process.poll() is not None, limit, "readiness")
        assert self.process.poll() is None, f"penfold ended with {self.process.returncode}: {open(self.log).read()}"
        return self

    def ready(self):
        try:
            return self.api("/readyz", raw=True) is not None
        except OSError:
            return False

    def stop(self, sig=signal.SIGTERM, limit=30):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(limit)
            except subprocess.TimeoutExpired:
                for pids in children(self.process.pid).values():
                    for pid in pids:
                        os.kill(pid, signal.SIGKILL)
                self.process.kill()
                self.process.wait(10)
                raise AssertionError("penfold did not stop in time")
        if self.process:
            self.process.stdout.close()
        return self.process.returncode if self.process else None

    def kill(self):
        """The supervisor dies at once; its roles end by themselves."""
        roles = [pid for pids in children(self.process.pid).values() for pid in pids]
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()
        wait_until(lambda: not any(os.path.exists(f"/proc/{p}") and "Z" not in open(f"/proc/{p}/stat").read().rsplit(")", 1)[1][:3] for p in roles
                                   if os.path.exists(f"/proc/{p}")), 20, "the end of the roles")

    def roles(self):
        return children(self.process.pid)

    def role(self, name):
        """The pids of a role; one that was just forked may not have its name yet."""
        return wait_until(lambda: self.roles().get(name), 10, f"the role {name}")

    def url(self, path):
        return f"http://127.0.0.1:{self.http}{path}"

    def api(self, path, method="GET", body=None, raw=False, headers=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url(path), data=data, method=method, headers=headers or {})
        with urllib.request.urlopen(request, timeout=30) as answer:
            content = answer.read()
        return content if raw else json.loads(content)

    def messages(self, **query):
        text = "&".join(f"{k}={v}" for k, v in query.items())
        return self.api("/api/v1/messages" + ("?" + text if text else ""))

    def raw(self, message_id):
        return self.api(f"/api/v1/message/{message_id}/raw", raw=True)


@pytest.fixture
def penfold(tmp_path):
    """A function that starts a Penfold with more flags; all of them are stopped at the end."""
    running = []

    def start(*args, data=None, env=None):
        p = Penfold(data or tmp_path / "data", args, env).start()
        running.append(p)
        return p

    yield start
    for p in running:
        if p.process.poll() is None:
            p.stop()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """One plain sandbox for all tests of a file."""
    p = Penfold(tmp_path_factory.mktemp("penfold") / "data").start()
    yield p
    p.stop()


class Smtp:
    """A client that says exactly what it is told: bytes out, replies in."""

    def __init__(self, port, host="127.0.0.1", tls=None, banner=True):
        self.sock = socket.create_connection((host, port), timeout=20)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.file = self.sock.makefile("rb")
        self.banner = self.reply() if banner else None

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def reply(self):
        lines = []
        while True:
            line = self.file.readline().decode("utf-8", "replace")
            if not line:
                raise ConnectionError(f"closed after {lines}")
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    def cmd(self, line):
        self.send(line if isinstance(line, bytes) else line + "\r\n")
        return self.reply()

    def message(self, body, sender="a@example.com", to=("b@example.com",)):
        """Sends one message (bytes that end in CRLF, dots not yet stuffed) and returns the last reply."""
        assert self.cmd(f"MAIL FROM:<{sender}>").startswith("250")
        for rcpt in to:
            assert self.cmd(f"RCPT TO:<{rcpt}>").startswith("250")
        assert self.cmd("DATA").startswith("354")
        stuffed = b"".join(b"." + line if line.startswith(b".") else line for line in body.splitlines(True))
        self.send(stuffed + b".\r\n")
        return self.reply()

    def close(self):
        self.file.close()
        self.sock.close()

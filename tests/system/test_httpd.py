"""httpd by itself: the test is its supervisor, its store and its content role, so that these can stall, vanish and lie."""
import base64
import hashlib
import http.client
import json
import os
import re
import select
import socket
import struct
import subprocess
import threading
import time

import pytest

from conftest import BUILD, wait_until
from frames import Link, pack

HTTPD = os.path.join(BUILD, "libexec", "penfold", "httpd")
STORE, CONTENT = 2, 4
SANITIZED = os.path.exists(HTTPD) and b"__asan_init" in open(HTTPD, "rb").read()


def message_id(n):
    return base64.b64encode(hashlib.sha256(str(n).encode()).digest(), altchars=b"ab").decode()[:22]


class Store:
    """Messages in a list, newest last; `mute`: kinds of request that are never answered."""

    def __init__(self):
        self.messages, self.mute, self.reads, self.log, self.summaries = [], set(), 0, [], {}

    def add(self, raw, summary=b""):
        number = len(self.messages) + 1
        m = {"num": number, "id": message_id(number).encode(), "raw": raw, "seen": 0, "summary": summary}
        self.messages.append(m)
        return m["id"].decode()

    def find(self, name):
        if name == b"latest":
            return self.messages[-1] if self.messages else None
        return next((m for m in self.messages if m["id"] == name), None)

    def row(self, link, tag, m):
        link.send("row", tag=tag, num=m["num"], id=m["id"], created_ms=1_763_878_411_123 + m["num"], size=len(m["raw"]), seen=m["seen"],
                  session=message_id(0), summary=m["summary"] or self.summaries.get(m["id"], b""))

    def done(self, link, tag):
        link.send("done", tag=tag, count=1, total=len(self.messages), unread=sum(not m["seen"] for m in self.messages))

    def failed(self, link, tag):
        link.send("failed", tag=tag, err=7, text="no such message")

    def __call__(self, link, name, v):
        self.log.append(name)
        if name in self.mute:
            return
        tag = v.get("tag")
        if name == "list":
            found = self.messages[::-1][v["start"]:]
            for m in found[:v["limit"] or None]:
                self.row(link, tag, m)
            self.done(link, tag)
        elif name == "get":
            m = self.find(v["id"])
            if not m:
                return self.failed(link, tag)
            self.row(link, tag, m)
            link.send("envelope", tag=tag, bytes=b"")
            self.done(link, tag)
        elif name == "read":
            m = self.find(v["id"])
            if not m:
                return self.failed(link, tag)
            self.reads += 1
            link.send("bytes", tag=tag, offset=v["offset"], size=len(m["raw"]), bytes=m["raw"][v["offset"]:v["offset"] + v["length"]])
        elif name == "mark":
            for m in self.messages:
                if v["all"] or m["id"] in v["ids"]:
                    m["seen"] = v["read"]
            self.done(link, tag)
        elif name == "delete":
            self.messages = [m for m in self.messages if not v["all"] and m["id"] not in v["ids"]]
            self.done(link, tag)
        elif name == "stats_get":
            link.send("stats", tag=tag, total=len(self.messages), unread=sum(not m["seen"] for m in self.messages))
        elif name == "summary_put":
            self.summaries[v["id"]] = v["json"]
        elif name == "session_get":
            self.failed(link, tag)


SUMMARY = {"MessageID": "m", "From": {"Name": "", "Address": "a@b"}, "To": [], "Cc": [], "Bcc": [], "ReplyTo": [], "Subject": "s", "Username": "",
           "Attachments": 0, "Snippet": "x"}


VIEW_WINDOW = 64 * 1024  # frame/view_kind.h


class Content:
    """Answers every view with what `answer` says: (type, [pieces], err), as far as it is granted.
    `full`: it is not done with what it is fed; `greedy`: it does not care what it is granted."""

    def __init__(self):
        self.answer, self.mute, self.fed, self.kinds = None, False, {}, {}
        self.full, self.greedy, self.room, self.left = False, False, {}, {}

    def push(self, link, tag):
        pieces, err = self.left.get(tag, ((), None))
        while pieces and (self.greedy or len(pieces[0]) <= self.room[tag]):
            self.room[tag] -= len(pieces[0])
            link.send("view_out", tag=tag, bytes=pieces.pop(0))
        if not pieces and err is not None:
            link.send("view_done", tag=tag, err=err)
            del self.left[tag]

    def __call__(self, link, name, v):
        tag = v["tag"]
        if name == "view_begin":
            self.fed[tag], self.kinds[tag], self.room[tag] = 0, v["kind"], VIEW_WINDOW
        elif name == "view_body":
            self.fed[tag] += len(v["bytes"])
            if not self.full:
                link.send("view_taken", tag=tag, bytes=len(v["bytes"]))
        elif name == "view_more":
            self.room[tag] += v["bytes"]
            self.push(link, tag)
        elif name == "view_cancel":
            self.left.pop(tag, None)
        elif name == "view_end" and not self.mute:
            kind, pieces, err = self.answer or ("application/json", [json.dumps(SUMMARY).encode()], 0)
            link.send("view_head", tag=tag, type=kind)
            self.left[tag] = (list(pieces), err)
            self.push(link, tag)


class Httpd:
    def __init__(self, path, conf=""):
        ours, theirs = socket.socketpair()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.store, self.content, self.ready = Store(), Content(), threading.Event()
        self.log = open(path / "log", "w+")
        fd = theirs.fileno()

        def child():
            os.dup2(fd, 3, inheritable=True)

        self.process = subprocess.Popen([HTTPD], pass_fds=(3,) if fd == 3 else (3, fd), preexec_fn=child, stderr=self.log)
        theirs.close()
        self.sock = ours
        self.control = Link(ours, self.heard)
        self.control.send("config", text=f"mode sandbox\ndata {path}\n{conf}\nlisten http {{\n  address 127.0.0.1:{self.port}\n  protocol http\n}}\n")
        self.send_fd("listener", self.listener, name="http")
        self.link_store()
        self.link_content()
        self.control.send("go", instance=0, run_id="test")
        assert self.ready.wait(10), self.text()

    def text(self):
        self.log.flush()
        return open(self.log.name).read()

    def heard(self, link, name, values):
        if name == "ready":
            self.ready.set()

    def send_fd(self, frame, sock, /, **values):
        with self.control.lock:
            socket.send_fds(self.sock, [pack(frame, **values)], [sock.fileno()])

    def peer(self, role, handle):
        ours, theirs = socket.socketpair()
        self.send_fd("peer", theirs, role=role, instance=0)
        theirs.close()
        return Link(ours, handle)

    def link_store(self):
        self.store_link = self.peer(STORE, self.store)

    def link_content(self):
        self.content_link = self.peer(CONTENT, self.content)

    def get(self, path, method="GET", body=None, headers=None, timeout=20):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            c.request(method, path, body=body, headers=headers or {})
            r = c.getresponse()
            return r.status, dict(r.getheaders()), r.read()
        finally:
            c.close()

    def talk(self, data, limit=10):
        """Raw bytes in, all that comes until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=limit) as s:
            s.sendall(data)
            out = b""
            while piece := s.recv(65536):
                out += piece
            return out

    def memory(self):
        text = open(f"/proc/{self.process.pid}/smaps_rollup").read()
        return int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1)) * 1024

    def stop(self):
        self.control.send("stop")
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        for link in (self.store_link, self.content_link, self.control):
            link.close()
        self.listener.close()
        assert status == 0, self.text()


@pytest.fixture
def httpd(tmp_path):
    h = Httpd(tmp_path)
    yield h
    h.stop()


HEAD = b"Host: localhost\r\n"


@pytest.mark.parametrize("request_bytes, status", [
    (b"GET /livez HTTP/1.1\r\n\r\n", 400),
    (b"GET /livez HTTP/1.1\r\n" + HEAD + HEAD + b"\r\n", 400),
    (b"GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
    (b"GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n", 400),
    (b"GET /livez HTTP/1.1\nHost: localhost\n\n", 400),
    (b"GET /livez HTTP/1.1\r\n" + HEAD + b"X: a\r\n b\r\n\r\n", 400),
    (b"GET /li\0vez HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    (b"GET /li\x01vez HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    (b"GET /%00 HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    (b"PUT /api/v1/messages HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
    (b"PUT /api/v1/messages HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"PUT /api/v1/messages HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    (b"PUT /api/v1/messages HTTP/1.1\r\n" + HEAD + b"Content-Length: x\r\n\r\n", 400),
    (b"PUT /api/v1/messages HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"PUT /api/v1/messages HTTP/1.1\r\n" + HEAD + b"Content-Length: 6000000\r\n\r\n", 413),
    (b"GET / HTTP/3.0\r\n" + HEAD + b"\r\n", 505),
    (b"GET /" + b"a" * 40000, 431),
    (b"GET / HTTP/1.1\r\n" + HEAD + b"a: b\r\n" * 200 + b"\r\n", 431),
])
def test_strict(httpd, request_bytes, status):
    answer = httpd.talk(request_bytes)
    assert answer.split(b" ")[1] == str(status).encode(), answer
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.count(b"HTTP/1.1 %d" % status) == 1
    assert "http_refused" in httpd.text()


def test_pipelined_and_kept_alive(httpd):
    one = b"GET /livez HTTP/1.1\r\n" + HEAD + b"\r\n"
    last = b"GET /livez HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n"
    assert httpd.talk(one * 50 + last).count(b"HTTP/1.1 200 OK") == 51
    assert httpd.talk(b"GET /livez HTTP/1.0\r\n" + HEAD + b"\r\n").count(b"200 OK") == 1
    assert b"\r\n\r\nok" in httpd.talk(b"PUT /api/v1/messages HTTP/1.1\r\n" + HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")


def test_byte_by_byte(httpd):
    with socket.create_connection(("127.0.0.1", httpd.port), timeout=10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for b in b"PUT /api/v1/messages HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}":
            s.send(bytes([b]))
        assert b"200 OK" in s.recv(4096)


def test_list_pages_and_summaries(httpd):
    for n in range(330):
        httpd.store.add(b"x" * n or b"y")
    status, _, body = httpd.get("/api/v1/messages?limit=0")
    page = json.loads(body)
    assert status == 200 and page["count"] == len(page["messages"]) == 330 and page["total"] == 330
    assert [m["ID"] for m in page["messages"]] == [m["id"].decode() for m in httpd.store.messages[::-1]]
    wait_until(lambda: len(httpd.store.summaries) == 330, what="the cached summaries")
    assert set(page["messages"][0]) == set(SUMMARY) | {"ID", "Read", "Created", "Tags", "Size"}
    page = json.loads(httpd.get("/api/v1/messages?start=1&limit=2")[2])
    assert [m["ID"] for m in page["messages"]] == [m["id"].decode() for m in httpd.store.messages[-2:-4:-1]] and page["start"] == 1


@pytest.mark.parametrize("answer", [("", [], 10), ("", [b"{not json"], 0), ("", [b"[1]"], 0), ("", [b"x" * 60000], 0), ("", [], 0)])
def test_list_without_good_summaries(httpd, answer):
    httpd.store.add(b"mail")
    httpd.content.answer = answer
    row, = json.loads(httpd.get("/api/v1/messages")[2])["messages"]
    assert set(row) == set(SUMMARY) | {"ID", "Read", "Created", "Tags", "Size"} and row["Subject"] == ""
    assert not httpd.store.summaries


def test_store_lost_and_back(httpd):
    ident = httpd.store.add(b"mail")
    httpd.store.mute = {"list", "read", "get"}
    answers = []
    threads = [threading.Thread(target=lambda p=p: answers.append(httpd.get(p)[0])) for p in
               ("/api/v1/messages", f"/api/v1/message/{ident}/raw", f"/api/v1/message/{ident}", f"/api/v1/message/{ident}/envelope")]
    for t in threads:
        t.start()
    wait_until(lambda: {"list", "read", "get"} <= set(httpd.store.log), what="the requests")
    httpd.store_link.close()
    for t in threads:
        t.join(10)
    assert answers == [503] * 4
    assert httpd.get("/readyz")[0] == 503 and httpd.get("/livez")[0] == 200
    httpd.store.mute = set()
    httpd.link_store()
    wait_until(lambda: httpd.get("/readyz")[0] == 200, what="the new link")
    assert httpd.get(f"/api/v1/message/{ident}/raw")[2] == b"mail"


def test_content_lost_and_back(httpd):
    ident = httpd.store.add(b"mail")
    httpd.content.mute = True
    answers = []
    t = threading.Thread(target=lambda: answers.append(httpd.get(f"/api/v1/message/{ident}")[0]))
    t.start()
    wait_until(lambda: httpd.content.fed, what="the view")
    httpd.content_link.close()
    t.join(10)
    assert answers == [503]
    assert len(json.loads(httpd.get("/api/v1/messages")[2])["messages"]) == 1
    wait_until(lambda: 'error="not running"' in httpd.text(), what="the reason in the log")
    httpd.content.mute = False
    httpd.link_content()
    wait_until(lambda: httpd.get(f"/api/v1/message/{ident}")[0] == 200, what="the new link")


def test_message_joins_store_and_content(httpd):
    ident = httpd.store.add(b"m" * 200_000)
    body = json.dumps({"Subject": "x", "Text": "y" * 500_000}).encode()
    httpd.content.answer = ("", [body[i:i + 60000] for i in range(0, len(body), 60000)], 0)
    status, headers, got = httpd.get(f"/api/v1/message/{ident}")
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert json.loads(got) == {"ID": ident, "Tags": [], "Size": 200_000, "Subject": "x", "Text": "y" * 500_000}
    assert httpd.store.messages[0]["seen"] == 1
    assert max(httpd.content.fed.values()) == 200_000


def test_failure_in_the_middle_cuts_the_answer(httpd):
    ident = httpd.store.add(b"mail")
    httpd.content.answer = ("text/html", [b"<p>half"], 10)
    with pytest.raises(http.client.HTTPException):
        httpd.get(f"/view/{ident}.html")


def test_hostile_types_and_names(httpd):
    ident = httpd.store.add(b"mail")
    httpd.content.answer = ("text/html\r\nX-Evil: 1", [b"data"], 0)
    status, headers, body = httpd.get(f"/api/v1/message/{ident}/part/1")
    assert (status, headers["Content-Type"], body) == (200, "application/octet-stream", b"data")
    assert "X-Evil" not in headers and headers["Content-Security-Policy"].startswith("sandbox")


def slow_clients(httpd, path, count):
    found = []
    for _ in range(count):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", httpd.port))
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        found.append(s)
    return found


def test_slow_client_holds_little(httpd):
    """50 MiB to clients that do not read: nothing piles up; then all bytes arrive."""
    raw = os.urandom(1 << 20) * 50
    ident = httpd.store.add(raw)
    before = httpd.memory()
    slow = slow_clients(httpd, f"/api/v1/message/{ident}/raw", 20)
    assert httpd.get("/livez")[0] == 200
    reads = -1
    while reads != httpd.store.reads:  # until nothing moves any more
        reads = httpd.store.reads
        select.select([], [], [], 0.3)
    def is_flat():
        return SANITIZED or httpd.memory() - before < 20 * 256 * 1024 + 4 * 1024 * 1024  # a sanitizer keeps what is freed

    assert is_flat()
    first = slow[0]
    first.settimeout(20)
    got = b""
    pieces = []
    while piece := first.recv(1 << 20):
        pieces.append(piece)
    got = b"".join(pieces)
    assert got.split(b"\r\n\r\n", 1)[1] == raw
    assert is_flat()
    for s in slow:
        s.close()
    wait_until(lambda: httpd.get("/livez")[0] == 200, what="an answer")


def test_slow_client_of_a_view_holds_little(httpd):
    """A view of 30 MiB to clients that do not read: it stays with the content role, and others have their turn."""
    body = os.urandom(30 << 20)
    httpd.content.answer = ("a/b", [body[i:i + 60000] for i in range(0, len(body), 60000)], 0)
    path = f"/api/v1/message/{httpd.store.add(b'mail')}/part/1"
    assert httpd.get(path)[2] == body
    before = httpd.memory()
    slow = slow_clients(httpd, path, 40)
    wait_until(lambda: len(httpd.content.fed) == 41, what="a turn for all of them")
    assert httpd.get(path)[2] == body
    assert SANITIZED or httpd.memory() - before < 40 * 256 * 1024 + 4 * 1024 * 1024
    assert len(httpd.content.left) == 40
    slow[0].settimeout(20)
    got = b"".join(iter(lambda: slow[0].recv(1 << 20), b""))
    assert got.endswith(b"\r\n0\r\n\r\n") and len(got) > len(body)
    for s in slow:
        s.close()
    wait_until(lambda: not httpd.content.left, what="the end of what nobody reads")


def test_content_that_is_full_is_fed_no_more(httpd):
    httpd.content.full = True
    ident = httpd.store.add(b"m" * 1_000_000)
    slow = slow_clients(httpd, f"/api/v1/message/{ident}/part/1", 1)
    wait_until(lambda: max(httpd.content.fed.values(), default=0) >= VIEW_WINDOW, what="a full window")
    assert httpd.get("/livez")[0] == 200
    assert max(httpd.content.fed.values()) < 3 * VIEW_WINDOW and httpd.store.reads < 4
    slow[0].close()


def test_content_that_says_more_than_granted_is_cut(httpd):
    httpd.content.greedy = True
    httpd.content.answer = ("a/b", [b"x" * 60000] * 100, 0)
    ident = httpd.store.add(b"mail")
    with pytest.raises(http.client.HTTPException):
        httpd.get(f"/api/v1/message/{ident}/part/1")
    httpd.content.greedy = False
    assert httpd.get(f"/api/v1/message/{ident}/part/1")[2] == b"x" * 6_000_000


def test_connection_limit(tmp_path):
    h = Httpd(tmp_path, "http_max_connections 5")
    try:
        held = [socket.create_connection(("127.0.0.1", h.port)) for _ in range(5)]
        wait_until(lambda: b"503" in h.talk(b""), what="the refusal")
        for s in held:
            s.close()
        wait_until(lambda: h.get("/livez")[0] == 200, what="room")
    finally:
        h.stop()


def test_timeouts(tmp_path):
    h = Httpd(tmp_path, "http_header_timeout 1s\nhttp_idle_timeout 1s")
    try:
        begun = time.monotonic()
        assert b" 408 " in h.talk(b"GET / HTTP/1.1\r\nHost")
        assert h.talk(b"") == b""
        assert time.monotonic() - begun < 8
    finally:
        h.stop()


def test_gone_client_stops_the_work(httpd):
    ident = httpd.store.add(b"mail")
    httpd.store.mute = {"read"}
    s = socket.create_connection(("127.0.0.1", httpd.port))
    s.sendall(f"GET /api/v1/message/{ident}/raw HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    wait_until(lambda: "read" in httpd.store.log, what="the question")
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    wait_until(lambda: "cancel" in httpd.store.log, what="the cancellation")


def test_drain(tmp_path):
    h = Httpd(tmp_path)
    ident = h.store.add(b"mail" * 1000)
    h.store.mute = {"read"}
    idle = socket.create_connection(("127.0.0.1", h.port))
    busy = socket.create_connection(("127.0.0.1", h.port), timeout=10)
    busy.sendall(f"GET /api/v1/message/{ident}/raw HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    wait_until(lambda: "read" in h.store.log, what="the question")
    h.control.send("drain")
    idle.settimeout(10)
    assert idle.recv(1) == b""
    h.store.mute = set()
    h.store_link.send("bytes", tag=1, offset=0, size=4000, bytes=b"mail" * 1000)
    got = b""
    while piece := busy.recv(65536):
        got += piece
    assert got.endswith(b"mail" * 1000) and b"Connection: " in got
    busy.close()
    assert h.process.wait(10) == 0


def websocket_to(h, receive_buffer=None):
    s = socket.socket()
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.settimeout(20)
    s.connect(("127.0.0.1", h.port))
    s.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
              b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += s.recv(1)
    assert b" 101 " in head and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # the example of RFC 6455 1.3
    return s


def read_event(s):
    def take(n):
        data = b""
        while len(data) < n:
            piece = s.recv(n - len(data))
            assert piece
            data += piece
        return data
    first, n = take(2)
    assert first == 0x81
    n = struct.unpack(">H", take(2))[0] if n == 126 else struct.unpack(">Q", take(8))[0] if n == 127 else n
    return json.loads(take(n))


def test_slow_websocket_is_cut(httpd):
    s = websocket_to(httpd, 4096)
    wait_until(lambda: httpd.store.log.count("subscribe") == 1, what="the subscription")
    before = httpd.memory()
    for n in range(60_000):
        httpd.store_link.send("changed_seen", id=message_id(n), seen=1)
        if httpd.store.log.count("subscribe") == 2:
            break
    wait_until(lambda: httpd.store.log.count("subscribe") == 2, what="the end of the subscription")
    assert SANITIZED or httpd.memory() - before < 8 << 20
    s.close()


def test_flood_of_arrivals_becomes_a_prune(httpd):
    httpd.content.mute = True
    s = websocket_to(httpd)
    wait_until(lambda: "subscribe" in httpd.store.log, what="the subscription")
    for n in range(300):
        ident = httpd.store.add(b"mail")
        httpd.store_link.send("changed_new", num=n + 1, id=ident, created_ms=1, size=4)
    events = [read_event(s)]
    while events[-1]["Type"] != "prune":
        events.append(read_event(s))
    assert {e["Type"] for e in events} <= {"prune", "stats"}
    s.close()


def test_events_come_in_the_order_of_arrival(httpd):
    s = websocket_to(httpd)
    wait_until(lambda: "subscribe" in httpd.store.log, what="the subscription")
    idents = [httpd.store.add(b"mail %d" % n) for n in range(150)]
    for n, ident in enumerate(idents):
        httpd.store_link.send("changed_new", num=n + 1, id=ident, created_ms=1, size=4)
    got = []
    while len(got) < 150:
        event = read_event(s)
        if event["Type"] == "new":
            got.append(event["Data"]["ID"])
    assert got == idents
    s.close()


def test_mail_that_kills_the_content_role_is_not_asked_about_again(httpd):
    httpd.store.add(b"poison")
    httpd.content.mute = True
    answers = []
    t = threading.Thread(target=lambda: answers.append(httpd.get("/api/v1/messages")[2]))
    t.start()
    wait_until(lambda: httpd.content.fed, what="the view")
    httpd.content_link.close()
    t.join(10)
    assert json.loads(answers[0])["messages"][0]["Subject"] == ""
    httpd.content.mute, httpd.content.fed = False, {}
    httpd.link_content()
    assert json.loads(httpd.get("/api/v1/messages")[2])["count"] == 1
    assert not httpd.content.fed and not httpd.store.summaries


def test_peers_that_speak_before_the_configuration(tmp_path):
    """Links come before GO, and what they say then, asked or not, is no reason to fall."""
    id_ = message_id(1)
    early = [("changed_new", {"num": 1, "id": id_, "created_ms": 1, "size": 4}), ("changed_seen", {"id": b"x" * 300, "seen": 1}),
             ("changed_deleted", {"ids": b"x" * 50}), ("changed_pruned", {}), ("changed_truncated", {}), ("changed_stats", {}),
             ("row", {"tag": 1, "id": id_}), ("stats", {"tag": 1}), ("done", {"tag": 1}), ("failed", {"tag": 1, "err": 255})]
    views = [("view_head", {"tag": 1, "type": "x"}), ("view_out", {"tag": 1, "bytes": b"x"}), ("view_done", {"tag": 1, "err": 255})]

    class Eager(Httpd):
        def link_store(self):
            super().link_store()
            for name, values in early:
                self.store_link.send(name, **values)

        def link_content(self):
            super().link_content()
            for name, values in views:
                self.content_link.send(name, **values)

    h = Eager(tmp_path)
    try:
        ident = h.store.add(b"mail")
        assert h.get(f"/api/v1/message/{ident}/raw")[2] == b"mail"
    finally:
        h.stop()


def test_answers_that_do_not_fit(httpd):
    """A store that answers with frames of another question is told from one that answers."""
    def row(link, name, v):
        if "tag" in v and name != "cancel":
            link.send("row", tag=v["tag"], id=ident)
            link.send("done", tag=v["tag"])

    ident = httpd.store.add(b"mail")
    good = httpd.store_link.handle
    httpd.store_link.handle = row
    assert httpd.get("/api/v1/info")[0] == 500
    assert httpd.get(f"/api/v1/message/{ident}/raw")[0] == 500
    assert httpd.get(f"/api/v1/message/{ident}/session")[0] in (404, 500)
    httpd.store_link.handle = good
    assert httpd.get(f"/api/v1/message/{ident}/raw")[2] == b"mail"

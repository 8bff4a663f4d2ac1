"""content by itself: the test is its supervisor and its httpd, and says things in odd orders."""
import os
import random
import re
import socket
import subprocess
import threading

import pytest

from conftest import BUILD
from frames import Link, pack

CONTENT = os.path.join(BUILD, "libexec", "penfold", "content")
HTTPD = 3
VIEW_WINDOW = 64 * 1024  # frame/view_kind.h
SANITIZED = os.path.exists(CONTENT) and b"__asan_init" in open(CONTENT, "rb").read()
SUMMARY, MESSAGE, HEADERS, PART, HTML, TEXT, STRUCTURE = range(1, 8)
ERR_FULL = 5  # of enum err
MAIL = (b"From: a@b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\nContent-Type: text/html\r\n\r\n"
        b"<p>hi</p>\r\n--b--\r\n")


class Reader(Link):
    """httpd's end of a link.  It grants credit as it reads and never sends more than it was granted.
    `slow`: tags of views whose output nobody takes."""

    WINDOW = 1 << 20

    def __init__(self, sock):
        self.out, self.done, self.taken, self.slow, self.changed = {}, {}, {}, set(), threading.Condition()
        self.room = self.WINDOW
        super().__init__(sock, self.take, self.granted)

    def take(self, link, name, v):
        with self.changed:
            if name == "view_out":
                self.out.setdefault(v["tag"], bytearray()).extend(v["bytes"])
                self.changed.notify_all()
                if v["tag"] not in self.slow:
                    self.grant_out(v["tag"], len(v["bytes"]))
            elif name == "view_taken":
                self.taken[v["tag"]] = self.taken.get(v["tag"], 0) + v["bytes"]
                self.changed.notify_all()
            elif name == "view_done":
                self.done[v["tag"]] = v["err"]
                self.changed.notify_all()

    def grant_out(self, tag, n):
        """Without waiting for credit: who reads must not wait.  The other side may have said its last words meanwhile."""
        self.room -= len(pack("view_more"))
        try:
            super().send("view_more", tag=tag, bytes=n)
        except OSError:
            pass

    def granted(self, n):
        with self.changed:
            self.room += n
            self.changed.notify_all()

    def send(self, name, /, **values):
        size = len(pack(name, **values))
        if name != "credit":
            with self.changed:
                assert self.changed.wait_for(lambda: self.room >= size, 20), "no credit"
                self.room -= size
        super().send(name, **values)

    def begin(self, tag, kind, envelope=b""):
        self.send("view_begin", tag=tag, kind=kind)
        self.send("view_envelope", tag=tag, bytes=envelope)

    def feed(self, tag, mail):
        for at in range(0, len(mail), 60000):
            self.send("view_body", tag=tag, bytes=mail[at:at + 60000])

    def ask(self, tag, kind, mail, envelope=b""):
        self.begin(tag, kind, envelope)
        self.feed(tag, mail)
        self.send("view_end", tag=tag)

    def wait(self, tag):
        """(err, output) of that view."""
        with self.changed:
            assert self.changed.wait_for(lambda: tag in self.done, 30), f"view {tag} does not end"
            return self.done.pop(tag), self.out.pop(tag, b"")


class Content:
    def __init__(self, path):
        ours, theirs = socket.socketpair()
        self.ready = threading.Event()
        self.log = open(path / "log", "w+")
        fd = theirs.fileno()

        def child():
            os.dup2(fd, 3, inheritable=True)

        self.process = subprocess.Popen([CONTENT], pass_fds=(3,) if fd == 3 else (3, fd), preexec_fn=child, stderr=self.log)
        theirs.close()
        self.sock = ours
        self.control = Link(ours, self.heard)
        self.control.send("config", text=f"mode sandbox\ndata {path}\n")
        self.links = []

    def heard(self, link, name, values):
        if name == "ready":
            self.ready.set()

    def go(self):
        self.control.send("go", instance=0, run_id="test")
        assert self.ready.wait(10), open(self.log.name).read()

    def reader(self):
        ours, theirs = socket.socketpair()
        with self.control.lock:
            socket.send_fds(self.sock, [pack("peer", role=HTTPD, instance=0)], [theirs.fileno()])
        theirs.close()
        self.links.append(Reader(ours))
        return self.links[-1]

    def peak(self):
        status = open(f"/proc/{self.process.pid}/status").read()
        return int(re.search(r"^VmHWM:\s+(\d+)", status, re.M).group(1)) * 1024

    def stop(self):
        if self.process.poll() is None:
            self.control.send("stop")
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise
        for link in (*self.links, self.control):
            link.close()
        assert status == 0, open(self.log.name).read()


@pytest.fixture
def content(tmp_path):
    c = Content(tmp_path)
    yield c
    c.stop()


def is_alive(link, tag=9_000_000):
    link.ask(tag, TEXT, MAIL)
    return link.wait(tag) == (0, b"hello")


def test_asked_before_it_is_configured(content):
    link = content.reader()
    link.ask(1, TEXT, MAIL)
    content.go()
    assert link.wait(1) == (0, b"hello")
    assert is_alive(link)


def test_frames_in_any_order(content):
    content.go()
    link = content.reader()
    rng = random.Random(7)
    pieces = (b"", MAIL, MAIL[:100], b"\x00\xff" * 50, b"--b\r\n" * 20)
    for _ in range(5000):
        tag = rng.randrange(8)
        step = rng.randrange(7)
        if step == 0:
            link.send("view_begin", tag=tag, kind=rng.randrange(10), argument=rng.choice((b"", b"1", b"x" * 300, b"x" * 5000)),
                      size=rng.choice((0, 1, 2**64 - 1)))
        elif step == 1:
            link.send("view_envelope", tag=tag, bytes=rng.choice((b"", b"\x11\xff", rng.randbytes(20))))
        elif step < 5:
            link.send("view_body", tag=tag, bytes=rng.choice(pieces))
        else:
            link.send(rng.choice(("view_end", "view_cancel", "view_more")), tag=tag, bytes=rng.choice((0, 1, 2**64 - 1)))
    assert is_alive(link)


def test_too_many_at_once(content):
    content.go()
    link = content.reader()
    for tag in range(300):
        link.begin(tag, TEXT)
    assert link.wait(299)[0] != 0
    for tag in range(300):
        link.send("view_cancel", tag=tag)
    assert is_alive(link)


def test_begun_again(content):
    """The same tag once more is a new view; the old one is over."""
    content.go()
    link = content.reader()
    link.begin(1, TEXT)
    link.feed(1, b"Subject: x\r\n\r\nold")
    link.ask(1, TEXT, MAIL)
    assert link.wait(1) == (0, b"hello")


def test_cancelled_in_the_middle(content):
    content.go()
    link = content.reader()
    big = b"Subject: x\r\n\r\n" + b"\x01" * (8 << 20)
    link.begin(1, MESSAGE)
    link.feed(1, big[:4 << 20])
    link.send("view_cancel", tag=1)
    link.ask(2, MESSAGE, big)
    link.ask(3, TEXT, MAIL)
    err, out = link.wait(2)
    assert err == 0 and out.count(b"\\u0001") == 8 << 20
    assert link.wait(3) == (0, b"hello")
    assert 1 not in link.done


def test_nobody_takes_the_output(content):
    """A part, and a text: content says as much as it is granted, is done with no more than that, and others go on."""
    content.go()
    link = content.reader()
    link.slow |= {1, 2}
    data = bytes(range(256)) * 1024
    mail = b"Content-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n" + data
    text = b"Subject: x\r\n\r\n" + b"y" * 300_000
    link.send("view_begin", tag=1, kind=PART, argument=b"0")
    link.send("view_envelope", tag=1)
    for at in range(0, len(mail), 50_000):
        link.send("view_body", tag=1, bytes=mail[at:at + 50_000])
    link.send("view_end", tag=1)
    link.ask(2, TEXT, text)
    assert is_alive(link)
    with link.changed:
        assert [len(link.out[tag]) for tag in (1, 2)] == [VIEW_WINDOW, VIEW_WINDOW]
        assert link.taken == {1: 50_000, 2: len(text), 9_000_000: len(MAIL)} and not link.done
    link.send("view_more", tag=1, bytes=1)
    link.send("view_more", tag=2, bytes=2**64 - 1)
    assert link.wait(2) == (0, text[14:])
    with link.changed:
        assert link.changed.wait_for(lambda: len(link.out[1]) == VIEW_WINDOW + 1, 20)
    link.slow.clear()
    link.send("view_more", tag=1, bytes=VIEW_WINDOW)
    assert link.wait(1) == (0, data)


def test_large_mails_at_once_are_bounded(content):
    """Thirty views of eight megabytes each, none of which ends: their sum is refused, a small one is not."""
    content.go()
    link = content.reader()
    big = b"Subject: x\r\n\r\n" + b"x" * (8 << 20)
    for tag in range(1, 31):
        link.begin(tag, TEXT)
        link.feed(tag, big)
    assert is_alive(link)
    with link.changed:
        refused = dict(link.done)
    assert len(refused) >= 15 and set(refused.values()) == {ERR_FULL}
    assert SANITIZED or content.peak() < 160 << 20
    for tag in range(1, 31):
        link.send("view_cancel", tag=tag)
    link.ask(100, TEXT, big)
    assert link.wait(100) == (0, big[14:])


def test_link_lost(content):
    content.go()
    link = content.reader()
    link.begin(1, TEXT)
    link.feed(1, MAIL)
    link.close()
    assert is_alive(content.reader())


@pytest.mark.parametrize("garbage", [b"\xff" * 100, b"\x00" * 100, pack("ready"), pack("view_out", tag=1, bytes=b"x"), pack("view_end", tag=1)[:-1] + b"\x01\x02"])
def test_garbage_ends_the_link_only(content, garbage):
    content.go()
    link = content.reader()
    link.sock.sendall(garbage)
    if garbage[4:6] != pack("view_end", tag=1)[4:6]:
        link.join(10)
        assert not link.is_alive()
    assert is_alive(content.reader())


def test_drain_waits_for_what_is_shown(content):
    content.go()
    link = content.reader()
    link.begin(1, TEXT)
    assert is_alive(link)  # it has heard of the first one
    content.control.send("drain")
    link.feed(1, MAIL)
    link.send("view_end", tag=1)
    assert link.wait(1) == (0, b"hello")
    assert content.process.wait(10) == 0

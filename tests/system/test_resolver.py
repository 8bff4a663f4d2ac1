"""The resolver by itself: the test is its supervisor and those who ask it; the DNS is nsd on loopback."""
import os
import socket
import struct
import subprocess
import threading
import time

import pytest

from conftest import BUILD, wait_until
from dns import Faults, Server, needs_nsd
from frames import Link, pack

RESOLVER = os.path.join(BUILD, "libexec", "penfold", "resolver")
SANITIZED = os.path.exists(RESOLVER) and b"__asan_init" in open(RESOLVER, "rb").read()
DELIVERY = 5
A, CNAME, MX, TXT, AAAA, TLSA = 1, 5, 15, 16, 28, 52
FOUND, NO_DATA, NO_NAME, FAILED, BOGUS = range(5)
SERVFAIL = 2


class Answer:
    def __init__(self, coded):
        self.at, self.coded = 0, coded
        version, self.name, self.type, self.status, self.secure = self.u8(), self.text(), self.u32(), self.u8(), bool(self.u8())
        self.ttl, self.canonical, self.why = self.u32(), self.text(), self.text()
        self.records = []
        for _ in range(self.u32()):
            preference = self.u32()
            self.records.append((preference, self.bytes()))
        assert version == 1 and self.at == len(coded)

    def u8(self):
        self.at += 1
        return self.coded[self.at - 1]

    def u32(self):
        self.at += 4
        return struct.unpack_from("<I", self.coded, self.at - 4)[0]

    def bytes(self):
        n = self.u32()
        self.at += n
        return self.coded[self.at - n:self.at]

    def text(self):
        return self.bytes().decode()

    @property
    def values(self):
        return sorted(value.decode() for _, value in self.records)


class Asker(Link):
    def __init__(self, sock):
        self.told, self.changed, self.tag = {}, threading.Condition(), 0
        super().__init__(sock, self.take)

    def take(self, link, name, v):
        with self.changed:
            self.told[v["tag"]] = v["answer"]
            self.changed.notify_all()

    def ask(self, name, kind):
        self.tag += 1
        self.send("dns_ask", tag=self.tag, name=name, type=kind)
        return self.tag

    def wait(self, tag, limit=60):
        with self.changed:
            assert self.changed.wait_for(lambda: tag in self.told, limit), "no answer"
            return self.told.pop(tag)

    def __call__(self, name, kind):
        return Answer(self.wait(self.ask(name, kind)))


class Resolver:
    def __init__(self, path, dns, anchor=None, hints=""):
        ours, theirs = socket.socketpair()
        self.ready, self.fatal = threading.Event(), None
        self.log = open(os.path.join(str(path), f"log-{id(self):x}"), "w+")
        fd = theirs.fileno()

        def child():
            os.dup2(fd, 3, inheritable=True)

        self.process = subprocess.Popen([RESOLVER], pass_fds=(3,) if fd == 3 else (3, fd), preexec_fn=child, stderr=self.log)
        theirs.close()
        self.sock = ours
        self.control = Link(ours, self.heard)
        self.path = path
        self.configure(dns, anchor, hints)

    def heard(self, link, name, values):
        if name == "fatal":
            self.fatal = values["text"].decode()
        if name in ("ready", "fatal"):
            self.ready.set()

    def configure(self, dns, anchor=None, hints="", servers=""):
        self.control.send("config", text=f"mode sandbox\ndata {self.path}\nlog_level debug\ndns \"{dns}\"\n"
                          + ("" if anchor else "dns_anchor none\n"))
        self.control.send("secret", name="dns.anchor", bytes=open(anchor).read() if anchor else "")
        self.control.send("secret", name="dns.hints", bytes=hints)
        self.control.send("secret", name="dns.servers", bytes=servers)
        self.control.send("go", instance=0, run_id="test")
        assert self.ready.wait(20), self.said()

    def said(self):
        return open(self.log.name).read()

    def asker(self):
        ours, theirs = socket.socketpair()
        with self.control.lock:
            socket.send_fds(self.sock, [pack("peer", role=DELIVERY, instance=0)], [theirs.fileno()])
        theirs.close()
        return Asker(ours)

    def stop(self):
        try:
            if not self.fatal:
                self.control.send("stop")
                assert self.process.wait(10) == 0, self.said()
        finally:
            self.process.kill()
            self.control.close()


ZONES = {
    "plain.example": """@ MX 10 mx
@ MX 20 mx2.other.example.
mx A 192.0.2.1
mx AAAA 2001:db8::1
www CNAME mx
chain CNAME www
gone CNAME nowhere
@ TXT "v=spf1 " "-all"
null MX 0 .
MIXED A 192.0.2.9
""" + "".join(f"c{i} CNAME c{i + 1}\n" for i in range(12)) + "c12 A 192.0.2.1\n"
    + "".join(f"many MX {i} mx{i}\n" for i in range(100)) + "big TXT " + " ".join('"' + "x" * 250 + '"' for _ in range(20)) + "\n",
    "signed.example": ("@ MX 10 mx\nmx A 192.0.2.2\n_25._tcp.mx TLSA 3 1 1 " + "ab" * 32 + "\n", "signed"),
    "bogus.example": ("@ MX 10 mx\nmx A 192.0.2.3\n", "bogus"),
    "corp.test": "@ A 192.0.2.4\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    s = Server(tmp_path_factory.mktemp("dns"), ZONES)
    yield s
    s.stop()


@pytest.fixture(scope="module")
def resolver(tmp_path_factory, server):
    r = Resolver(tmp_path_factory.mktemp("resolver"), server.address, server.anchor)
    yield r
    r.stop()


@pytest.fixture
def ask(resolver):
    a = resolver.asker()
    yield a
    a.close()


@needs_nsd
def test_records(ask):
    mx = ask("Plain.EXAMPLE", MX)
    assert mx.status == FOUND and not mx.secure and mx.name == "plain.example" and 0 < mx.ttl <= 300
    assert sorted(mx.records) == [(10, b"mx.plain.example"), (20, b"mx2.other.example")]
    assert ask("mx.plain.example", A).values == ["192.0.2.1"]
    assert ask("mx.plain.example", AAAA).values == ["2001:db8::1"]
    assert ask("plain.example", TXT).values == ["v=spf1 -all"]
    assert ask("null.plain.example", MX).records == [(0, b"")]
    assert ask("mixed.plain.example", A).values == ["192.0.2.9"]
    assert ask("corp.test", A).values == ["192.0.2.4"]  # not one of the names that are answered without asking


@needs_nsd
def test_what_is_not_there(ask):
    assert ask("mx.plain.example", MX).status == NO_DATA
    nowhere = ask("nowhere.plain.example", A)
    assert nowhere.status == NO_NAME and nowhere.ttl <= 300
    gone = ask("gone.plain.example", A)
    assert (gone.status, gone.canonical) == (NO_NAME, "nowhere.plain.example")
    assert ask("elsewhere.example", A).status == FAILED  # the server refuses
    assert ask("localhost", A).values == ["127.0.0.1"]


@needs_nsd
def test_aliases(ask):
    chain = ask("chain.plain.example", A)
    assert (chain.canonical, chain.values) == ("mx.plain.example", ["192.0.2.1"])
    assert ask("c4.plain.example", A).values == ["192.0.2.1"]  # eight
    assert ask("c0.plain.example", A).status == FAILED


@needs_nsd
def test_large_answers(ask):
    """More than fits into a datagram: over TCP, within the sandbox."""
    assert len(ask("many.plain.example", MX).records) == 100
    assert len(ask("big.plain.example", TXT).values[0]) == 5000


@needs_nsd
def test_signatures(ask):
    assert ask("signed.example", MX).secure
    tlsa = ask("_25._tcp.mx.signed.example", TLSA)
    assert tlsa.secure and tlsa.records[0][1] == b"\3\1\1" + b"\xab" * 32
    nothing = ask("nothing.signed.example", A)
    assert nothing.status == NO_NAME and nothing.secure
    for name, kind in (("bogus.example", MX), ("mx.bogus.example", A)):
        bogus = ask(name, kind)
        assert bogus.status == BOGUS and not bogus.secure and not bogus.records and bogus.why


@needs_nsd
def test_names_that_cannot_be_asked(ask):
    for name in ("", "a b", "b\xfccher.example", "a..b", "x" * 64 + ".example", "a\r\nb"):
        assert ask.wait(ask.ask(name, A)) == b""
    assert ask.wait(ask.ask("plain.example", 0)) == b""


@needs_nsd
def test_closed_in(resolver, ask):
    """It has answered, and may not open a file or start a program."""
    assert ask("mx.plain.example", A).status == FOUND
    status = open(f"/proc/{resolver.process.pid}/status").read()
    if not SANITIZED:
        assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status
        assert 'protection="landlock"' not in resolver.said() and 'protection="seccomp"' not in resolver.said()


def ip(text):
    return socket.inet_aton(text)


@pytest.fixture
def faults():
    made = []

    def make(answer, delay=0.0):
        made.append(Faults(answer, delay))
        return made[-1]

    yield make
    for f in made:
        f.close()


@pytest.fixture
def start(tmp_path):
    made = []

    def make(dns, **more):
        made.append(Resolver(tmp_path, dns, **more))
        return made[-1]

    yield make
    for r in made:
        r.stop()


def test_servfail_is_for_now(start, faults):
    f = faults(lambda name, kind, packet: SERVFAIL)
    a = start(f.address).asker()
    answer = a("a.example", A)
    assert answer.status == FAILED and answer.why


def test_identical_questions_are_asked_once(start, faults):
    f = faults(lambda name, kind, packet: f.records(packet, name, (A, ip("192.0.2.1"))), delay=0.3)
    r = start(f.address)
    one, two = r.asker(), r.asker()
    tags = [(a, a.ask("a.example", A)) for a in (one, two) for _ in range(20)]
    for a, tag in tags:
        assert Answer(a.wait(tag)).values == ["192.0.2.1"]
    assert f.asked.count(("a.example", A)) == 1
    assert one("a.example", A).values == ["192.0.2.1"]  # and then it is known
    assert f.asked.count(("a.example", A)) == 1


def test_what_is_not_there_is_remembered(start, server):
    """Negative answers with their SOA are kept (RFC 2308)."""
    r = start(server.address)
    a = r.asker()
    assert a("never.plain.example", A).status == NO_NAME
    server.stop()
    try:
        assert a("never.plain.example", A).status == NO_NAME
    finally:
        server.start()


def test_many_at_a_time(start, faults):
    f = faults(lambda name, kind, packet: f.records(packet, name, (A, ip("192.0.2.1"))), delay=0.02)
    a = start(f.address).asker()
    tags = [a.ask(f"n{i}.example", A) for i in range(2000)]
    for tag in tags:
        assert Answer(a.wait(tag)).status == FOUND


def test_an_asker_that_goes(start, faults):
    f = faults(lambda name, kind, packet: f.records(packet, name, (A, ip("192.0.2.1"))), delay=0.3)
    r = start(f.address)
    gone, stays = r.asker(), r.asker()
    for i in range(300):
        gone.ask(f"n{i}.example", A)
    tag = stays.ask("n1.example", A)
    gone.close()
    assert Answer(stays.wait(tag)).values == ["192.0.2.1"]
    assert r.process.poll() is None


def test_damaged_answers(start, faults):
    """A packet whose names run in circles, and one that ends in the middle."""
    def answer(name, kind, packet):
        if name.startswith("loop"):
            return f.records(packet, name, (MX, b"\0\x0a\xc0" + bytes([12 + len(name) + 2 + 4 + 12 + 2])))
        return f.records(packet, name, (A, ip("192.0.2.1")))[:-3]
    f = faults(answer)
    r = start(f.address)
    a = r.asker()
    assert a("loop.example", MX).status == FAILED
    assert a("short.example", A).status == FAILED
    assert r.process.poll() is None


@pytest.mark.skipif(os.environ.get("SOAK") != "1", reason="takes half a minute")
def test_silence_ends(start, faults):
    f = faults(lambda name, kind, packet: None)
    a = start(f.address).asker()
    began = time.monotonic()
    assert a("a.example", A).status == FAILED
    assert time.monotonic() - began < 40


def test_reload(start, faults, server):
    """New servers, new anchors: taken over within the sandbox; questions on their way are asked anew."""
    silent = faults(lambda name, kind, packet: None)
    r = start(silent.address)
    a = r.asker()
    tag = a.ask("signed.example", MX)
    wait_until(lambda: silent.asked, what="the question")
    r.configure(server.address, server.anchor)
    answer = Answer(a.wait(tag))
    assert answer.status == FOUND and answer.secure, answer.why
    r.configure("not an address")  # refused: the old one holds
    assert a("mx.signed.example", A).secure
    assert wait_until(lambda: "reload_refused" in r.said())


def test_system_servers(start, server):
    r = start("127.0.0.1:1")
    r.configure("system", servers=f"# resolv.conf\nsearch example\nnameserver fe80::1%eth0\nnameserver 127.0.0.1\noptions edns0\n")
    assert r.process.poll() is None  # its port is 53, where nobody listens here


@pytest.mark.parametrize("dns", ["not-an-address", "127.0.0.1:70000", "unix:/x"])
def test_settings_that_cannot_be(start, dns):
    r = start(dns)
    assert r.fatal and "dns:" in r.fatal


def test_an_anchor_that_is_none(start, tmp_path):
    anchor = tmp_path / "anchor"
    anchor.write_text("this is no key\n")
    r = start("127.0.0.1:1", anchor=str(anchor))
    assert r.fatal and "anchor" in r.fatal

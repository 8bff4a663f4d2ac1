"""delivery by itself: the test is its supervisor, its store and its resolver, and the servers it delivers to."""
import email
import email.policy
import os
import socket
import subprocess
import threading
import time

import pytest

from conftest import BUILD, free_port, wait_until
from frames import Link, pack
from receiver import Receiver, certificate, dns_answer

DELIVERY = os.path.join(BUILD, "libexec", "penfold", "delivery")
STORE, RESOLVER = 2, 6
RELAY, SMARTHOST, LMTP, PIPE = 5, 6, 7, 8  # frame/job.h
EIGHT_BIT, UTF8, REQUIRE_TLS = 1, 2, 4
DELIVERED, DEFERRED, FAILED, UNKNOWN, RELAYED = 1, 2, 3, 4, 5
FINE, NO_HOST, NO_CONNECT, HANDSHAKE, BUSY, BROKEN, OURS = range(7)
A, MX, AAAA = 1, 15, 28
MESSAGE = b"Subject: hi\r\n\r\n.a line\r\nand another\r\n"
WINDOW = 64 * 1024


class Store(Link):
    """The store's end: gives leave at once (unless `leave` is off), grants as it is asked."""

    def __init__(self, sock):
        self.jobs, self.sites, self.changed = {}, {}, threading.Condition()
        self.leave, self.intents, self.bodies = True, [], {}
        super().__init__(sock, self.take)

    def take(self, link, name, v):
        with self.changed:
            if name == "job_intent":
                self.intents.append(v["job"])
                if self.leave:
                    self.send("job_go", job=v["job"])
            elif name == "job_more":
                self.feed(v["job"], v["bytes"])
            elif name == "job_result":
                self.jobs[v["job"]]["results"][v["index"]] = v
            elif name == "job_transcript":
                self.jobs[v["job"]]["transcript"] += v["bytes"]
            elif name == "job_done":
                self.jobs[v["job"]]["done"] = v
            elif name == "site_told":
                self.sites[v["tag"]] = v
            self.changed.notify_all()

    def feed(self, job, room):
        piece, self.bodies[job] = self.bodies[job][:room], self.bodies[job][room:]
        for at in range(0, len(piece), 60 * 1024):
            self.send("job_body", job=job, bytes=piece[at:at + 60 * 1024])

    def job(self, number, kind, next_hop, rcpts, message=MESSAGE, route="r", site="", sender="a@example.org", params="", flags=0,
            feed=True):
        with self.changed:
            self.jobs[number] = {"results": {}, "transcript": b"", "done": None}
            self.bodies[number] = message
        self.send("job", job=number, kind=kind, id="x" * 22, route=route, next_hop=next_hop, site=site, sender=sender,
                  size=len(message), flags=flags, sender_params=params)
        for i, rcpt in enumerate(rcpts):
            address, rparams = rcpt if isinstance(rcpt, tuple) else (rcpt, "")
            self.send("job_rcpt", job=number, index=i, address=address, params=rparams)
        if feed:
            with self.changed:
                self.feed(number, WINDOW)

    def wait(self, number, limit=20):
        with self.changed:
            assert self.changed.wait_for(lambda: self.jobs[number]["done"], limit), f"job {number} does not end"
            return self.jobs[number]

    def site(self, tag, domain):
        self.send("site_ask", tag=tag, domain=domain)
        with self.changed:
            assert self.changed.wait_for(lambda: tag in self.sites, 20), "no answer"
            return self.sites[tag]


class Resolver(Link):
    """A DNS of which the test decides: {(name, type): (status, records)}; what is not there does not exist."""

    def __init__(self, sock):
        self.zone, self.asked, self.silent = {}, [], False
        super().__init__(sock, self.take)

    def take(self, link, name, v):
        question = (v["name"].decode(), v["type"])
        self.asked.append(question)
        status, records = self.zone.get(question, (2, ()))
        if not self.silent:
            self.send("dns_told", tag=v["tag"], answer=dns_answer(question[0], question[1], status, records))


class Delivery:
    def __init__(self, path, conf, env=None, secrets=None, resolver=True):
        ours, theirs = socket.socketpair()
        self.ready, self.pipes = threading.Event(), {}
        self.log = open(path / "log", "w+")
        fd = theirs.fileno()

        def child():
            os.dup2(fd, 3, inheritable=True)

        self.process = subprocess.Popen([DELIVERY], pass_fds=(3,) if fd == 3 else (3, fd), preexec_fn=child, stderr=self.log,
                                        env={**os.environ, **(env or {})})
        theirs.close()
        self.sock = ours
        self.control = Link(ours, self.heard)
        self.control.send("config", text=f"mode sandbox\nhostname client.example.org\ndata {path}\n{conf}\n")
        for name, value in (secrets or {}).items():
            self.control.send("secret", name=name, bytes=value)
        self.store = self.peer(STORE, Store)
        self.resolver = self.peer(RESOLVER, Resolver) if resolver else None
        self.control.send("go", instance=0, run_id="test")
        assert self.ready.wait(10), open(self.log.name).read()

    def heard(self, link, name, values):
        if name == "ready":
            self.ready.set()
        elif name == "pipe_run":
            threading.Thread(target=self.run, args=(values,), daemon=True).start()

    def run(self, v):
        ours, theirs = socket.socketpair()
        with self.control.lock:
            socket.send_fds(self.sock, [pack("pipe_started", tag=v["tag"], err=0)], [theirs.fileno()])
        theirs.close()
        data = b""
        while piece := ours.recv(65536):
            data += piece
        self.pipes[v["recipient"]] = data
        status, said = getattr(self, "exits", {}).get(v["recipient"], (0, b""))
        end = lambda: self.control.send("pipe_ended", tag=v["tag"], status=status, signaled=0)
        if getattr(self, "end_first", False):  # the two ways are not one: either may be the faster
            end()
            time.sleep(0.3)
        ours.sendall(said)
        if getattr(self, "keep_open", False):
            self.kept = ours
        else:
            ours.close()
        if not getattr(self, "end_first", False):
            end()

    def peer(self, role, link):
        ours, theirs = socket.socketpair()
        with self.control.lock:
            socket.send_fds(self.sock, [pack("peer", role=role, instance=0)], [theirs.fileno()])
        theirs.close()
        return link(ours)

    def stop(self):
        if self.process.poll() is None:
            self.control.send("stop")
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise
        for link in (self.store, self.resolver, self.control):
            if link:
                link.close()
        assert status == 0, open(self.log.name).read()


@pytest.fixture
def delivery(tmp_path):
    made = []

    def start(conf="", **more):
        made.append(Delivery(tmp_path, conf, **more))
        return made[-1]

    yield start
    for d in made:
        d.stop()


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


def route(action="smarthost", host="127.0.0.1:25", **more):
    lines = "".join(f"  {key} {value}\n" for key, value in more.items())
    return f"route r {{\n  to *@example.com\n  action {action}\n  host {host}\n{lines}}}\n"


def outcomes(job):
    return [job["results"][i]["outcome"] for i in sorted(job["results"])]


def test_a_smarthost_takes_it(delivery):
    server = Receiver()
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [DELIVERED]
    assert job["results"][0]["code"] == 250 and job["results"][0]["text"] == b"2.0.0 taken"
    done = job["done"]
    assert (done["trouble"], done["address"], done["source"], done["reusable"]) == (FINE, b"127.0.0.1:%d" % server.port, b"127.0.0.1", 1)
    assert 0 < done["started_us"] <= done["ended_us"]
    assert server.mails[0]["data"] == MESSAGE
    assert server.commands[0] == b"EHLO client.example.org"
    assert server.mails[0]["from"] == b"MAIL FROM:<a@example.org> SIZE=%d" % len(MESSAGE)
    assert b"> RCPT TO:<b@example.com>\n" in job["transcript"] and b"< 250 2.0.0 taken\n" in job["transcript"]
    assert d.store.intents == [1]


def test_one_connection_for_many(delivery):
    server = Receiver()
    d = delivery(route() + "site_connection_messages 5\n")
    for n in range(1, 8):
        d.store.job(n, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
        assert outcomes(d.store.wait(n)) == [DELIVERED]
    assert server.connections == 2
    assert [d.store.jobs[n]["done"]["reusable"] for n in range(1, 8)] == [1, 1, 1, 1, 0, 1, 1]
    assert b"message 5 of this connection" in d.store.jobs[5]["transcript"]


def test_a_connection_that_died_asleep(delivery):
    """The server has hung up meanwhile: once more, unnoticed."""
    server = Receiver()
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    d.store.wait(1)
    server.drop = "MAIL"
    server.replies["EHLO"] = lambda s, line: setattr(server, "drop", None)
    d.store.job(2, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    assert outcomes(d.store.wait(2)) == [DELIVERED]
    assert server.connections == 2


def test_not_ended_without_leave(delivery):
    server = Receiver()
    d = delivery(route())
    d.store.leave = False
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    wait_until(lambda: d.store.intents == [1], what="the intent")
    assert not server.mails and not d.store.jobs[1]["done"]
    d.store.send("job_go", job=1)
    assert outcomes(d.store.wait(1)) == [DELIVERED]


def test_a_large_message_flows(delivery):
    message = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 4 * 8192 * 20
    for extensions in (["PIPELINING"], ["PIPELINING", "CHUNKING"]):
        server = Receiver(extensions)
        d = delivery(route())
        d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"], message)
        assert outcomes(d.store.wait(1)) == [DELIVERED]
        assert server.mails[0]["data"] == message + b"\r\n"
        assert any(c.startswith(b"BDAT") for c in server.commands) == ("CHUNKING" in extensions)


def test_each_recipient_has_its_answer(delivery):
    def rcpt(session, line):
        return b"550 5.1.1 no such user\r\n" if b"bad" in line else b"452 4.2.2 full\r\n" if b"full" in line else None
    server = Receiver(replies={"RCPT": rcpt})
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["good@example.com", "bad@example.com", "full@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [DELIVERED, FAILED, DEFERRED]
    assert [job["results"][i]["code"] for i in range(3)] == [250, 550, 452]


@pytest.mark.parametrize("drop, outcome, trouble", [
    ("greeting", DEFERRED, HANDSHAKE), ("EHLO", DEFERRED, HANDSHAKE), ("MAIL", DEFERRED, BROKEN), ("RCPT", DEFERRED, BROKEN),
    ("DATA", DEFERRED, BROKEN), ("dot", UNKNOWN, BROKEN)])
def test_dropped_at_each_step(delivery, drop, outcome, trouble):
    server = Receiver(drop=drop)
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [outcome] and job["done"]["trouble"] == trouble, job
    assert job["results"][0]["text"].startswith((b"4.4.2 ", b"the server closed"))


@pytest.mark.parametrize("drop", ["greeting", "EHLO", "MAIL", "DATA"])
def test_the_next_host_has_it(delivery, drop):
    bad, good = Receiver(drop=drop), Receiver()
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{bad.port} 127.0.0.1:{good.port}", ["b@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [DELIVERED] and len(good.mails) == 1
    assert job["done"]["address"] == b"127.0.0.1:%d" % good.port


def test_nobody_listens(delivery):
    port, server = free_port(), Receiver()
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{port}", ["b@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [DEFERRED] and job["done"]["trouble"] == NO_CONNECT
    assert b"Connection refused" in job["results"][0]["text"] and job["results"][0]["text"].startswith(b"4.4.1 ")
    d.store.job(2, SMARTHOST, f"127.0.0.1:{port} 127.0.0.1:{server.port}", ["b@example.com"])
    job = d.store.wait(2)
    assert outcomes(job) == [DELIVERED]
    assert b":%d" % port not in job["transcript"]  # it is remembered


@pytest.mark.parametrize("reply, outcome, trouble", [
    (b"554 go away\r\n", DEFERRED, HANDSHAKE), (b"421 busy\r\n", DEFERRED, BUSY), (b"450 later\r\n", DEFERRED, BUSY),
    (b"521 no mail here\r\n", FAILED, HANDSHAKE), (b"HTTP/1.1 400 Bad Request\r\n\r\n", DEFERRED, HANDSHAKE),
    (b"220-" + b"x" * 2_000_000 + b"\r\n", DEFERRED, HANDSHAKE), (b"220-x\r\n" * 5000, DEFERRED, HANDSHAKE),
    (b"220 \0\x1b[2J\r\n", DELIVERED, FINE)],
    ids=["554", "421", "450", "521", "http", "megabytes", "endless", "controls"])  # a name of megabytes is too long for an environment
def test_greetings(delivery, reply, outcome, trouble):
    server = Receiver(greeting=reply)
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [outcome] and job["done"]["trouble"] == trouble
    assert len(job["transcript"]) <= 64 * 1024


@pytest.mark.parametrize("command, reply, outcome, trouble", [
    ("MAIL", b"550 5.7.1 not you\r\n", FAILED, FINE), ("MAIL", b"451 4.7.1 greylisted\r\n", DEFERRED, FINE),
    ("RCPT", b"552 too many\r\n", DEFERRED, FINE), ("RCPT", b"599 strange\r\n", FAILED, FINE), ("RCPT", b"421 bye\r\n", DEFERRED, BUSY),
    ("DATA", b"554 5.6.0 no\r\n", FAILED, FINE), (".", b"452 4.3.1 full\r\n", DEFERRED, FINE), (".", b"554 5.7.1 spam\r\n", FAILED, FINE),
    (".", b"421 4.3.2 bye\r\n", DEFERRED, BUSY), (".", b"299 whatever\r\n", DELIVERED, FINE)])
def test_answers(delivery, command, reply, outcome, trouble):
    server = Receiver(replies={command: reply})
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [outcome] and job["done"]["trouble"] == trouble, job


# ---- TLS ----

def test_starttls_when_it_is_offered(delivery, tls_files):
    server = Receiver(["PIPELINING", "STARTTLS"], tls=tls_files)
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [DELIVERED] and server.mails[0]["tls"]
    assert job["done"]["tls"].startswith(b"TLSv1.3 ") and b"verified" not in job["done"]["tls"]


def test_plain_when_the_handshake_fails(delivery):
    server = Receiver(["STARTTLS"], replies={"STARTTLS": b"220 go\r\nnot a handshake at all, not at all"})
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [DEFERRED]  # bytes behind the 220 are an attack, not a failure of TLS
    server = Receiver(["STARTTLS"], replies={"STARTTLS": lambda s, line: s.say(b"220 go\r\n") or s.sock.recv(1000) and b"garbage garbage"})
    d.store.job(2, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    job = d.store.wait(2)
    assert outcomes(job) == [DELIVERED] and server.connections == 2
    assert job["done"]["tls"] == b"" and b"once more, without TLS" in job["transcript"]


@pytest.mark.parametrize("policy", ["required", "verify"])
def test_no_mail_without_tls_when_it_is_required(delivery, policy):
    server = Receiver()
    d = delivery(route(tls=policy))
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [DEFERRED] and job["done"]["trouble"] == HANDSHAKE and not server.mails
    assert job["results"][0]["text"].startswith(b"4.7.4 ")


def test_verify_by_an_address(delivery, tls_files):
    server = Receiver(["STARTTLS"], tls=tls_files)
    d = delivery(route(tls="verify"), env={"SSL_CERT_FILE": tls_files[0]})
    for number, host in enumerate(("127.0.0.1", "[127.0.0.1]"), 1):
        d.store.job(number, SMARTHOST, f"{host}:{server.port}", ["b@example.com"])
        job = d.store.wait(number)
        assert outcomes(job) == [DELIVERED] and job["done"]["tls"].endswith(b" verified"), job


@pytest.mark.parametrize("trusted", [False, True])
def test_verify(delivery, tls_files, trusted):
    server = Receiver(["STARTTLS"], tls=tls_files)
    d = delivery(route(tls="verify"), env={"SSL_CERT_FILE": tls_files[0]} if trusted else {})
    d.store.job(1, SMARTHOST, f"localhost:{server.port}", ["b@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [DELIVERED if trusted else DEFERRED], job
    assert job["done"]["tls"].endswith(b" verified") == trusted


def test_verify_compares_the_name(delivery, tls_files):
    server = Receiver(["STARTTLS"], tls=tls_files)
    d = delivery(route(tls="verify"), env={"SSL_CERT_FILE": tls_files[0]})
    d.resolver.zone["other.test", A] = (0, [(0, "127.0.0.1")])
    d.store.job(1, SMARTHOST, f"other.test:{server.port}", ["b@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [DEFERRED] and b"ostname mismatch" in job["results"][0]["text"], job


@pytest.mark.parametrize("how", ["auto", "implicit", "required"])
def test_a_password_is_for_the_server_that_proves_its_name(delivery, tls_files, how):
    """Only who says that any certificate will do has it shown to any."""
    server = Receiver(["AUTH PLAIN", "STARTTLS"], tls=tls_files, implicit=how == "implicit")
    d = delivery(route(tls=how, user="joe", password_file="/nowhere"), secrets={"route.r.password": b"pencil"})
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    assert outcomes(d.store.wait(1)) == [DELIVERED if how == "required" else DEFERRED]
    assert any(c.startswith(b"AUTH") for c in server.commands) == (how == "required")


def test_implicit_tls_and_a_password(delivery, tls_files):
    server = Receiver(["AUTH PLAIN"], tls=tls_files, implicit=True)
    d = delivery(route(tls="implicit", user="joe", password_file="/nowhere"), secrets={"route.r.password": b"pencil"},
                 env={"SSL_CERT_FILE": tls_files[0]})
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [DELIVERED] and server.mails[0]["user"] == [b"joe", b"pencil"]
    assert b"AUTH PLAIN ****" in job["transcript"] and b"AGpvZQBwZW5jaWw" not in job["transcript"]


def test_a_password_is_not_shown_without_tls(delivery):
    server = Receiver(["AUTH PLAIN"])
    d = delivery(route(user="joe", password_file="/nowhere"), secrets={"route.r.password": b"pencil"})
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    assert outcomes(d.store.wait(1)) == [DEFERRED]
    assert not any(c.startswith(b"AUTH") for c in server.commands)


def test_a_wrong_password(delivery, tls_files):
    server = Receiver(["AUTH PLAIN", "STARTTLS"], tls=tls_files)
    d = delivery(route(user="joe", password_file="/nowhere"), secrets={"route.r.password": b"wrong"},
                 env={"SSL_CERT_FILE": tls_files[0]})
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [DEFERRED] and job["results"][0]["code"] == 535 and job["done"]["trouble"] == HANDSHAKE


# ---- extensions ----

def test_dsn_is_passed_on(delivery):
    server = Receiver(["DSN"])
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", [("b@example.com", "NOTIFY=SUCCESS ORCPT=rfc822;b@example.com RRVS=x")],
                params="SIZE=99 BODY=8BITMIME RET=HDRS ENVID=q AUTH=<> HOLDFOR=5")
    assert outcomes(d.store.wait(1)) == [DELIVERED]
    assert server.mails[0]["from"] == b"MAIL FROM:<a@example.org> RET=HDRS ENVID=q"
    assert server.mails[0]["to"] == [b"RCPT TO:<b@example.com> NOTIFY=SUCCESS ORCPT=rfc822;b@example.com"]


def test_a_server_without_dsn_has_it_relayed(delivery):
    server = Receiver([])
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", [("b@example.com", "NOTIFY=SUCCESS,FAILURE"), ("c@example.com", "NOTIFY=NEVER")],
                params="RET=HDRS")
    assert outcomes(d.store.wait(1)) == [RELAYED, DELIVERED]
    assert server.mails[0]["from"] == b"MAIL FROM:<a@example.org>"


def test_what_the_server_does_not_take(delivery):
    server = Receiver(["SIZE 10"])
    d = delivery(route())
    hop = f"127.0.0.1:{server.port}"
    d.store.job(1, SMARTHOST, hop, ["b@example.com"])
    d.store.job(2, SMARTHOST, hop, ["ü@example.com"], b"x\r\n", flags=UTF8)
    for number, status in ((1, b"5.3.4"), (2, b"5.6.7")):
        job = d.store.wait(number)
        assert outcomes(job) == [FAILED] and job["results"][0]["text"].startswith(status), job
    assert not server.mails


# ---- servers that take less ----

EIGHT = ("From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
         "Subject: s\r\n\r\n.größe\r\n.\r\nend\r\n").encode()
HEADER = ("From: Jürgen <a@bücher.example>\r\nTo: b@example.com\r\nSubject: Grüße, möglichst viele\r\nMIME-Version: 1.0\r\n"
          "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nüber\r\n").encode()
SIGNED = ("Content-Type: multipart/signed; boundary=b; protocol=\"application/pgp-signature\"\r\nMIME-Version: 1.0\r\n\r\n--b\r\n"
          "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nüber\r\n--b\r\n"
          "Content-Type: application/pgp-signature\r\n\r\n-----\r\n--b--\r\n").encode()
BIN = (b"Content-Type: multipart/mixed; boundary=b\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n--b\r\n"
       b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: binary\r\n\r\nan \xfc and\n a line feed\r\n--b\r\n"
       b"Content-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n" + bytes(range(256)) * 300 + b"\r\n--b--\r\n")
BINARY, LONG_LINES = 16, 32


def contents(message):
    """What a reader sees: headers decoded, bodies decoded; the same of a message before and after."""
    m = email.message_from_bytes(message, policy=email.policy.default)
    fields = [(name, str(m[name])) for name in ("Subject", "From", "To") if m[name]]
    return fields, [(p.get_content_type(), p.get_payload(decode=True)) for p in m.walk() if not p.is_multipart()]


def converted(delivery, extensions, message, flags, rcpts=("b@example.com",), sender="a@example.org", kind=SMARTHOST, lmtp=False):
    server = Receiver(extensions, lmtp=lmtp)
    d = delivery(route("lmtp" if lmtp else "smarthost"))
    d.store.job(1, kind, f"127.0.0.1:{server.port}", list(rcpts), message, flags=flags, sender=sender)
    return server, d.store.wait(1)


@pytest.mark.parametrize("kind", [SMARTHOST, LMTP])
@pytest.mark.parametrize("message, flags, extensions, note", [
    (EIGHT, EIGHT_BIT, ["SIZE 1000000", "PIPELINING"], b"* converted to 7-bit: the server does not offer 8BITMIME\n"),
    (EIGHT + b"\xc3\xbc" * 50 + b"\r\n" + EIGHT.split(b"\r\n\r\n", 1)[1] * 6000, EIGHT_BIT, ["PIPELINING", "CHUNKING"], b"8BITMIME\n"),
    (BIN, EIGHT_BIT | BINARY, ["8BITMIME", "CHUNKING", "PIPELINING"], b"* converted to 7-bit: the server does not offer BINARYMIME\n"),
    (BIN, EIGHT_BIT | BINARY, ["8BITMIME"], b"BINARYMIME\n"),
    (b"Subject: s\r\n\r\n" + b"x" * 5000 + b"\r\n", LONG_LINES, ["8BITMIME"], b"* converted for its lines over 998 bytes\n"),
], ids=["8bit", "8bit-chunks", "binary-chunks", "binary-data", "lines"])
def test_converted_to_seven_bits(delivery, kind, message, flags, extensions, note):
    server, job = converted(delivery, extensions, message, flags, kind=kind, lmtp=kind == LMTP)
    assert outcomes(job) == [DELIVERED] and job["done"]["trouble"] == FINE, job
    mail = server.mails[0]
    assert mail["data"].isascii() and b"BODY=" not in mail["from"] and b"SIZE=" not in mail["from"]
    assert all(len(line) <= 998 for line in mail["data"].split(b"\r\n")) and b"\n" not in mail["data"].replace(b"\r\n", b"")
    assert contents(mail["data"]) == contents(message)
    assert note in job["transcript"], job["transcript"]


def test_binary_goes_as_it_is_where_it_can(delivery):
    server, job = converted(delivery, ["CHUNKING", "BINARYMIME"], BIN, EIGHT_BIT | BINARY)
    assert outcomes(job) == [DELIVERED] and server.mails[0]["data"] == BIN and b"BODY=BINARYMIME" in server.mails[0]["from"]


@pytest.mark.parametrize("extensions", [["8BITMIME"], []])
def test_converted_to_an_ascii_header(delivery, extensions):
    server, job = converted(delivery, extensions, HEADER, UTF8 | EIGHT_BIT, ["ü@example.com", "b@bücher.example", "c@example.com"],
                            sender="a@bücher.example")
    assert outcomes(job) == [FAILED, DELIVERED, DELIVERED]
    assert job["results"][0]["text"].startswith(b"5.6.7 ") and job["results"][1]["text"] == b"2.0.0 taken"
    mail = server.mails[0]
    head, body = mail["data"].split(b"\r\n\r\n", 1)
    assert head.isascii() and mail["from"].startswith(b"MAIL FROM:<a@xn--bcher-kva.example>") and b"SMTPUTF8" not in mail["from"]
    assert mail["to"] == [b"RCPT TO:<b@xn--bcher-kva.example>", b"RCPT TO:<c@example.com>"]
    assert (body == "über\r\n".encode()) == bool(extensions) and body.isascii() != bool(extensions)
    fields, parts = contents(mail["data"])
    assert dict(fields)["Subject"] == "Grüße, möglichst viele" and parts == contents(HEADER)[1]
    assert dict(fields)["From"] == "Jürgen <a@xn--bcher-kva.example>"
    assert b"* converted to an ASCII header: the server does not offer SMTPUTF8\n" in job["transcript"]


@pytest.mark.parametrize("message, flags, status", [
    (SIGNED, EIGHT_BIT, b"5.6.3 "), (SIGNED.replace(b"signed", b"encrypted"), EIGHT_BIT, b"5.6.3 "),
    (SIGNED.replace("ü".encode(), b"\n"), BINARY, b"5.6.3 "), (HEADER.replace(b"<a@", "<ü@".encode()), UTF8 | EIGHT_BIT, b"5.6.7 ")],
    ids=["signed", "encrypted", "binary", "address"])
def test_what_cannot_be_converted(delivery, message, flags, status):
    """Before MAIL when it is known by then; else the connection ends, for DATA has no other way out."""
    server = Receiver(["PIPELINING"])
    d = delivery(route())
    hop = f"127.0.0.1:{server.port}"
    d.store.job(1, SMARTHOST, hop, ["b@example.com", "c@example.com"], message, flags=flags)
    job = d.store.wait(1)
    assert outcomes(job) == [FAILED, FAILED] and job["results"][1]["text"].startswith(status), job
    assert job["done"]["trouble"] == FINE
    assert [c for c in server.commands if c.startswith((b"MAIL", b"DATA"))] == []
    d.store.job(2, SMARTHOST, hop, ["b@example.com"], EIGHT, flags=EIGHT_BIT)
    assert outcomes(d.store.wait(2)) == [DELIVERED] and server.connections == 1
    late = message.replace(b"\r\n--b\r\n", b"\r\n" + b"preamble\r\n" * 20000 + b"\r\n--b\r\n", 1)
    if late != message:
        d.store.job(3, SMARTHOST, hop, ["b@example.com", "c@example.com"], late, flags=flags)
        job = d.store.wait(3)
        assert outcomes(job) == [FAILED, FAILED] and job["results"][0]["text"].startswith(status)
        assert job["done"]["trouble"] == FINE and len(server.mails) == 1


def test_a_signed_message_as_it_is(delivery):
    """By seven bits, and by DKIM with long lines: no server is known to mind these, every one minds a broken signature."""
    seven = SIGNED.replace("ü".encode(), b"x")
    server, job = converted(delivery, [], seven, EIGHT_BIT)
    assert server.mails[0]["data"] == seven
    dkim = b"DKIM-Signature: v=1; a=x\r\nSubject: s\r\n\r\n" + b"x" * 5000 + b"\r\n"
    server, job = converted(delivery, [], dkim, LONG_LINES)
    assert server.mails[0]["data"] == dkim and b"as they are" in job["transcript"]
    server, job = converted(delivery, [], b"DKIM-Signature: v=1; a=x\r\n" + EIGHT, EIGHT_BIT)
    assert server.mails[0]["data"].isascii() and b"* converted, so that its DKIM-Signature may not hold any more\n" in job["transcript"]


def test_the_next_host_gets_it_whole(delivery):
    """What one host needed has used up nothing of the message."""
    bad, good = Receiver(["SIZE 1000000"], drop="DATA"), Receiver(["8BITMIME"])
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{bad.port} 127.0.0.1:{good.port}", ["b@example.com"], EIGHT, flags=EIGHT_BIT)
    assert outcomes(d.store.wait(1)) == [DELIVERED] and good.mails[0]["data"] == EIGHT


def test_limits(delivery):
    server = Receiver(["PIPELINING", "LIMITS MAILMAX=2 RCPTMAX=2"])
    d = delivery(route())
    for n in range(1, 4):
        d.store.job(n, SMARTHOST, f"127.0.0.1:{server.port}", ["1@example.com", "2@example.com", "3@example.com"])
        assert outcomes(d.store.wait(n)) == [DELIVERED, DELIVERED, DEFERRED]
    assert server.connections == 2


# ---- mail exchangers ----

def relay(d, number, domain, **more):
    d.store.job(number, RELAY, domain, [f"b@{domain}"], route="", **more)
    return d.store.wait(number)


def site(port, match="*"):
    return f"relay_loopback yes\nsite here {{\n  match {match}\n  port {port}\n}}\n"


def test_mail_exchangers_in_order(delivery):
    server = Receiver()
    d = delivery(site(server.port))
    d.resolver.zone.update({("d.test", MX): (0, [(20, "mx2.test"), (10, "mx1.test")]), ("mx1.test", A): (0, [(0, "127.0.0.2")]),
                            ("mx2.test", A): (0, [(0, "127.0.0.1")])})
    told = d.store.site(1, "d.test")
    assert (told["err"], told["site"]) == (0, b"mx1.test mx2.test") and told["ttl_s"] == 300
    job = relay(d, 1, "d.test", site="mx1.test mx2.test")
    assert outcomes(job) == [DELIVERED] and job["done"]["host"] == b"mx2.test", job
    asked = len(d.resolver.asked)
    assert outcomes(relay(d, 2, "d.test", site="mx1.test mx2.test")) == [DELIVERED]
    assert len(d.resolver.asked) == asked and server.connections == 1


def test_domains_of_one_site_share_a_connection(delivery):
    server = Receiver()
    d = delivery(site(server.port))
    for domain in ("one.test", "two.test"):
        d.resolver.zone[domain, MX] = (0, [(10, "mx.test")])
    d.resolver.zone["mx.test", A] = (0, [(0, "127.0.0.1")])
    for number, domain in enumerate(("one.test", "two.test"), 1):
        assert outcomes(relay(d, number, domain, site="mx.test")) == [DELIVERED]
    assert server.connections == 1


def test_a_connection_is_known_by_where_it_leads(delivery):
    """What the store was told of a domain may be old, or a lie from the start: its owner names our victim's exchangers
    first and his own a moment later.  The victim's mail must not go by the connection to him."""
    server = Receiver()
    d = delivery(site(server.port))
    d.resolver.zone.update({("evil.test", MX): (0, [(10, "mx.evil.test")]), ("mx.evil.test", A): (0, [(0, "127.0.0.1")]),
                            ("victim.test", MX): (0, [(10, "mx.victim.test")]), ("mx.victim.test", A): (0, [(0, "127.0.0.1")])})
    assert outcomes(relay(d, 1, "evil.test", site="mx.victim.test")) == [DELIVERED]
    job = relay(d, 2, "victim.test", site="mx.victim.test")
    assert outcomes(job) == [DELIVERED] and job["done"]["host"] == b"mx.victim.test" and server.connections == 2


def test_a_checksum_is_no_name(delivery):
    """Of many exchangers the site's name is cut and ends in a checksum, which is easy to forge."""
    server = Receiver()
    d = delivery(site(server.port))
    hosts = [f"{n:02d}.{'x' * 30}.test" for n in range(12)]
    d.resolver.zone.update({(h, A): (0, [(0, "127.0.0.1")]) for h in hosts})
    for number, domain in enumerate(("one.test", "two.test", "two.test"), 1):
        d.resolver.zone[domain, MX] = (0, [(10, h) for h in hosts])
        name = d.store.site(number, domain)["site"].decode()
        assert len(name) == 255 and outcomes(relay(d, number, domain, site=name)) == [DELIVERED]
    assert server.connections == 2


def test_no_such_domain_and_null_mx(delivery):
    d = delivery("relay_loopback yes\n")
    d.resolver.zone["null.test", MX] = (0, [(0, "")])
    d.resolver.zone["fail.test", MX] = (3, [])
    for number, (domain, outcome, codes, text) in enumerate([
            ("gone.test", FAILED, (550, 556), b"5."), ("null.test", FAILED, (556,), b"5.1.10"), ("fail.test", DEFERRED, (451,), b"4.4.3")], 1):
        job = relay(d, number, domain)
        assert outcomes(job) == [outcome] and job["results"][0]["code"] in codes, job
        assert job["results"][0]["text"].startswith(text)
        told = d.store.site(number, domain)
        assert told["err"] != 0 and told["code"] in codes


@pytest.mark.parametrize("allowed", [False, True])
def test_loopback(delivery, allowed):
    server = Receiver()
    conf = site(server.port)
    d = delivery(conf if allowed else conf.replace("relay_loopback yes", "relay_loopback no"))
    d.resolver.zone.update({("d.test", MX): (0, [(10, "mx.test")]), ("mx.test", A): (0, [(0, "127.0.0.1")])})
    assert outcomes(relay(d, 1, "d.test")) == [DELIVERED if allowed else FAILED] or not allowed
    assert outcomes(relay(d, 2, "[127.0.0.1]")) == ([DELIVERED] if allowed else [FAILED])
    assert (len(server.mails) > 0) == allowed


@pytest.mark.parametrize("ours", ["listener", "interface"])
def test_a_name_that_leads_to_us(delivery, ours):
    """An address of ours is ours by whatever name: it ends the list, and what is left may be nothing."""
    address = "192.0.2.7"
    if ours == "interface":
        words = subprocess.run(["hostname", "-I"], stdout=subprocess.PIPE, text=True).stdout.split()
        address = next((w for w in words if "." in w), None)
        if not address:
            pytest.skip("no interface but loopback")
    server = Receiver()
    d = delivery(site(server.port) + ("listen here {\n  protocol smtp\n  address 192.0.2.7:25\n}\n" if ours == "listener" else ""))
    d.resolver.zone.update({("loop.test", MX): (0, [(10, "other.test")]), ("other.test", A): (0, [(0, address)]),
                            ("backup.test", MX): (0, [(5, "mx.test"), (10, "other.test"), (20, "third.test")]),
                            ("mx.test", A): (0, [(0, "127.0.0.9")]), ("third.test", A): (0, [(0, "127.0.0.1")])})
    job = relay(d, 1, "loop.test")
    assert outcomes(job) == [FAILED] and job["results"][0]["text"].startswith(b"5.4.6 "), job
    job = relay(d, 2, "backup.test")
    assert outcomes(job) == [DEFERRED] and job["done"]["host"] == b"mx.test" and not server.connections  # which third.test is


def test_the_resolver_is_away(delivery):
    d = delivery("relay_loopback yes\n", resolver=False)
    job = relay(d, 1, "d.test")
    assert outcomes(job) == [DEFERRED] and job["done"]["trouble"] == NO_HOST
    assert d.store.site(1, "d.test")["code"] == 451


def test_the_resolver_goes_away(delivery):
    d = delivery("relay_loopback yes\n")
    d.resolver.silent = True
    d.store.job(1, RELAY, "d.test", ["b@d.test"], route="")
    wait_until(lambda: d.resolver.asked, what="a question")
    d.resolver.close()
    assert outcomes(d.store.wait(1)) == [DEFERRED]


def test_ipv6_literal(delivery):
    try:
        server = Receiver(host="::1")
    except OSError:
        pytest.skip("no IPv6")
    d = delivery(site(server.port))
    job = relay(d, 1, "[IPv6:::1]")
    assert outcomes(job) == [DELIVERED] and job["done"]["address"] == b"[::1]:%d" % server.port


def reload(d, path, conf):
    d.control.send("config", text=f"mode sandbox\nhostname client.example.org\ndata {path}\n{conf}\n")
    d.control.send("go", instance=0, run_id="test")


def test_nothing_is_shared_across_settings(delivery, tmp_path, tls_files):
    """A connection made under other settings - another user, no TLS - gets no further mail."""
    server = Receiver(["AUTH PLAIN", "STARTTLS"], tls=tls_files)
    d = delivery(route(), env={"SSL_CERT_FILE": tls_files[0]})
    hop = f"127.0.0.1:{server.port}"
    d.store.job(1, SMARTHOST, hop, ["b@example.com"])
    assert outcomes(d.store.wait(1)) == [DELIVERED] and not server.mails[0]["user"]
    d.control.send("secret", name="route.r.password", bytes=b"pencil")
    reload(d, tmp_path, route(user="joe", password_file="/nowhere"))
    wait_until(lambda: b"QUIT" in server.commands, what="the end of the old connection")
    d.store.job(2, SMARTHOST, hop, ["b@example.com"])
    assert outcomes(d.store.wait(2)) == [DELIVERED] and server.mails[1]["user"] == [b"joe", b"pencil"]


def test_sites_with_sources_of_their_own(delivery):
    """Two domains of the same exchangers, of which one has a source: not by the other's connection."""
    server = Receiver()
    d = delivery(f"relay_loopback yes\nsite one {{\n  match one.test\n  port {server.port}\n  source 127.0.0.3\n}}\n"
                 f"site two {{\n  match two.test\n  port {server.port}\n}}\n")
    for number, domain in enumerate(("one.test", "two.test"), 1):
        d.resolver.zone[domain, MX] = (0, [(10, "mx.test")])
        d.resolver.zone["mx.test", A] = (0, [(0, "127.0.0.1")])
        assert outcomes(relay(d, number, domain, site="mx.test")) == [DELIVERED]
    assert [d.store.jobs[n]["done"]["source"] for n in (1, 2)] == [b"127.0.0.3", b"127.0.0.1"]


def test_source_address(delivery):
    server = Receiver()
    d = delivery(route(source="127.0.0.3"))
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    assert d.store.wait(1)["done"]["source"] == b"127.0.0.3"


# ---- other endings ----

def test_lmtp(delivery, tmp_path):
    path = str(tmp_path / "lmtp")
    server = Receiver(lmtp=True, path=path)
    d = delivery(route("lmtp", f"unix:{path}"))
    server.replies["."] = b"250 2.0.0 ok\r\n452 4.2.2 full\r\n"
    d.store.job(1, LMTP, f"unix:{path}", ["b@example.com", "c@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [DELIVERED, DEFERRED]
    assert server.commands[0] == b"LHLO client.example.org"
    assert server.mails[0]["data"] == b"Return-Path: <a@example.org>\r\n" + MESSAGE
    server.replies.clear()
    d.store.job(2, LMTP, f"unix:{path}", ["b@example.com"])
    assert outcomes(d.store.wait(2)) == [DELIVERED]
    assert server.mails[1]["data"] == b"Return-Path: <a@example.org>\r\nDelivered-To: b@example.com\r\n" + MESSAGE


def test_pipe(delivery):
    d = delivery("route r {\n  to *@example.com\n  action pipe\n  command /bin/cat\n}\n")
    d.exits = {b"c@example.com": (75, b"disk full\n"), b"d@example.com": (67, b"")}
    message = MESSAGE + b"x" * 300_000
    d.store.job(1, PIPE, "r", ["b@example.com", "c@example.com", "d@example.com"], message)
    job = d.store.wait(1)
    assert outcomes(job) == [DELIVERED, DEFERRED, FAILED]
    assert b"disk full" in job["results"][1]["text"] and job["results"][2]["text"].startswith(b"5.1.1 ")
    assert set(d.pipes.values()) == {b"Return-Path: <a@example.org>\r\n" + message}


@pytest.mark.parametrize("how", ["end_first", "keep_open"])
def test_what_a_command_says_is_kept(delivery, how):
    """Its end may be known before its words are read; and a child of its may hold its output open for ever."""
    d = delivery("route r {\n  to *@example.com\n  action pipe\n  command /bin/cat\n}\n")
    setattr(d, how, True)
    d.exits = {b"c@example.com": (75, b"disk full\n")}
    d.store.job(1, PIPE, "r", ["c@example.com"])
    job = d.store.wait(1)
    assert outcomes(job) == [DEFERRED] and b"disk full" in job["results"][0]["text"]


# ---- order ----

def test_cancelled(delivery):
    server = Receiver(slow=0)
    d = delivery(route())
    d.store.leave = False
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    wait_until(lambda: d.store.intents, what="the intent")
    d.store.send("job_cancel", job=1)
    job = d.store.wait(1)
    assert outcomes(job) == [DEFERRED] and job["done"]["trouble"] == OURS and not server.mails


def test_drained(delivery):
    """What is under way ends; what comes later is given back; then it goes."""
    server = Receiver(slow=0.5)
    d = delivery(route())
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    wait_until(lambda: d.store.intents, what="the intent")
    d.control.send("drain")
    assert outcomes(d.store.wait(1)) == [DELIVERED]
    assert d.process.wait(10) == 0


def test_many_jobs_at_once(delivery):
    server = Receiver()
    d = delivery(route())
    for n in range(1, 301):
        d.store.job(n, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
        if n > 100:  # the test's end of the link answers in the thread that reads: it must not run out of credit
            d.store.wait(n - 100)
    for n in range(1, 301):
        assert outcomes(d.store.wait(n)) == [DELIVERED]
    assert len(server.mails) == 300


def test_frames_in_any_order(delivery):
    import random
    rng, server = random.Random(3), Receiver()
    d = delivery(route())
    for n in range(1000, 1020):
        d.store.jobs[n] = {"results": {}, "transcript": b"", "done": None}
        d.store.bodies[n] = b""
    for _ in range(2000):
        n = rng.randrange(1000, 1020)
        kind = rng.randrange(6)
        if kind == 0:
            d.store.send("job", job=n, kind=rng.randrange(12), next_hop=rng.choice(["", f"127.0.0.1:{server.port}", ":", "x.test", "[1"]),
                         size=rng.choice([0, 1, 100, 2**63]), route=rng.choice(["r", "", "q"]), flags=rng.randrange(32))
        elif kind == 1:
            d.store.send("job_rcpt", job=n, index=rng.randrange(3), address=rng.choice(["", "a@b", "x\r\ny", "ü" * 600]))
        elif kind == 2:
            d.store.send("job_body", job=n, bytes=rng.choice([b"", b"x", b"y" * 60000]))
        elif kind == 3:
            d.store.send("job_go", job=n)
        elif kind == 4:
            d.store.send("job_cancel", job=n)
        else:
            d.store.send("site_ask", tag=n, domain=rng.choice(["", "x.test", "[", "a" * 300]))
    d.store.job(1, SMARTHOST, f"127.0.0.1:{server.port}", ["b@example.com"])
    assert outcomes(d.store.wait(1)) == [DELIVERED]

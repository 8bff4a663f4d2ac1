"""Two mail servers and a DNS: what one submits arrives in a mailbox of the other, whatever happens between."""
import email
import http.client
import json
import os
import smtplib
import socket
import ssl
import subprocess

import pytest

import dns
from conftest import PENFOLD, Penfold, Unix, free_port, wait_until
from receiver import Receiver

pytestmark = dns.needs_nsd
MESSAGE = b"Date: Wed, 25 Nov 2026 10:00:00 +0000\r\nFrom: ada@a.example\r\nTo: bob@b.example\r\nMessage-ID: <1@a.example>\r\nSubject: over\r\n\r\n" \
          b"Hello Bob.\r\n.a dot\r\n..two\r\n" + "Grüße\r\n".encode() + b"x" * 990 + b"\r\n"


class Server(Penfold):
    """`penfold serve` of one domain; its port 25 is one that the others know."""

    def __init__(self, path, name, mx, dns_server, anchor=None, more=""):
        self.name, self.domain, self.mx, self.submission = name, f"{name}.example", mx, free_port()
        self.dir = path / name
        self.dir.mkdir()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-keyout", self.dir / "key.pem", "-out", self.dir / "cert.pem", "-subj", f"/CN=mx.{self.domain}"],
                       check=True, capture_output=True)
        self.text = (f"user root\nhostname mx.{self.domain}\ndata {self.dir}/data\nworkers 1\ntls_certificate {self.dir}/cert.pem\n"
                     f"tls_key {self.dir}/key.pem\ndns {dns_server.address}\ndns_anchor {anchor or 'none'}\nrelay_loopback yes\n"
                     f"listen mx {{\n  address 127.0.0.1:{mx}\n  tls starttls\n}}\n"
                     f"listen submission {{\n  address 127.0.0.1:{self.submission}\n  policy submission\n  tls starttls\n  auth required\n}}\n"
                     f"listen admin {{\n  protocol http\n  address unix:{self.dir}/admin.sock\n}}\n"
                     f"listen web {{\n  protocol http\n  address 127.0.0.1:{free_port()}\n}}\ndomain {self.domain} {{\n}}\n{more}")
        (self.dir / "penfold.conf").write_text(self.text)
        tcp = int(self.text.split("listen web", 1)[1].split("127.0.0.1:", 1)[1].split("\n", 1)[0])
        super().__init__(self.dir / "data", ["-c", str(self.dir / "penfold.conf")], command="serve", ports=False)
        self.log, self.http = str(self.dir / "log"), tcp

    def api(self, path, method="GET", body=None, raw=False, headers=None):
        c = Unix(str(self.dir / "admin.sock"))
        c.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body), headers or {})
        answer = c.getresponse()
        content = answer.read()
        c.close()
        if answer.status != 200:
            raise OSError(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content if raw else json.loads(content)

    def over_tcp(self, path, method="GET", body=None, token=None):
        """(status, body) on the listener where nobody is known by his user."""
        c = http.client.HTTPConnection("127.0.0.1", self.http, timeout=30)
        c.request(method, path, None if body is None else json.dumps(body), {"Authorization": f"Bearer {token}"} if token else {})
        answer = c.getresponse()
        content = answer.read()
        c.close()
        return answer.status, content

    def account(self, local, password="secret"):
        self.api(f"/api/v1/admin/accounts/{local}@{self.domain}?how=new", "PUT", {"password": password})

    def inbox(self, local, folder="INBOX"):
        """The messages of a folder, as they are delivered; none when nothing ever came."""
        try:
            rows = self.api(f"/api/v1/admin/mailboxes/{local}@{self.domain}/{folder}")["Messages"]
        except OSError as e:
            if " 404 " in str(e):
                return []
            raise
        return [self.api(f"/api/v1/message/{row['ID']}/raw?edited=1", raw=True) for row in rows]

    def queue(self):
        return self.api("/api/v1/admin/queue")["Queue"]

    def submit(self, user, to, message=MESSAGE, password="secret", options=()):
        """Sends with authentication over STARTTLS; the id from the 250."""
        with smtplib.SMTP("127.0.0.1", self.submission, timeout=20) as s:
            s.starttls(context=ssl._create_unverified_context())
            s.login(f"{user}@{self.domain}", password)
            s.ehlo_or_helo_if_needed()
            s.mail(f"{user}@{self.domain}")
            for one in [to] if isinstance(to, str) else to:
                assert s.rcpt(one, options)[0] == 250
            code, text = s.data(message)
            assert code == 250, text
            return text.decode().rsplit(" ", 1)[1]

    def story(self, mail):
        return self.api(f"/api/v1/admin/explain/{mail}")


@pytest.fixture
def world(tmp_path):
    """The DNS, and a function that makes a server of it."""
    os.chmod(tmp_path, 0o755)
    running, ports = [], {"a": free_port(), "b": free_port()}
    zone = "@ MX 10 mx\nmx A 127.0.0.1\n"
    names = dns.Server(tmp_path, {"a.example": (zone, "signed"), "b.example": (zone, "signed"), "nullmx.example": "@ MX 0 .\n"}, ttl=1)

    def make(name, more=""):
        sites = "".join(f"site {n}.example {{\n  match {n}.example\n  port {p}\n}}\n" for n, p in ports.items())
        s = Server(tmp_path, name, ports[name], names, names.anchor, sites + more)
        running.append(s)
        return s

    yield make
    for s in running:
        if s.process and s.process.poll() is None:
            s.stop()
    names.stop()


def body_of(message):
    return message.split(b"\r\n\r\n", 1)[1]


def decoded(message):
    return email.message_from_bytes(message).get_payload(decode=True)


def test_submitted_here_delivered_there(world):
    a, b = world("a").start(), world("b").start()
    a.account("ada")
    b.account("bob")
    mail = a.submit("ada", "bob@b.example")
    wait_until(lambda: b.inbox("bob"), 20, "the mail")
    received, = b.inbox("bob")
    assert body_of(received) == body_of(MESSAGE) and received.count(b"\nReceived: ") + received.startswith(b"Received: ") == 2
    wait_until(lambda: not a.queue(), what="an empty queue")
    attempt = a.story(mail)["Attempts"][-1]
    assert attempt["Outcome"] == "delivered" and attempt["TLS"].startswith("TLSv1.") and attempt["Host"] == "mx.b.example", attempt
    assert a.story(mail)["Queue"][0]["State"] == "delivered"


def test_a_line_that_is_too_long_for_the_wire(world):
    """RFC 5321 4.5.3.1.6: 998 bytes; over the wire it is shorter ones, which are read as the one it was."""
    a, b = world("a").start(), world("b").start()
    a.account("ada")
    b.account("bob")
    sent = MESSAGE + b"y" * 3000 + b"\r\n"
    mail = a.submit("ada", "bob@b.example", sent)
    wait_until(lambda: b.inbox("bob"), 20, "the mail")
    received, = b.inbox("bob")
    assert decoded(received) == body_of(sent) and all(len(line) <= 998 for line in received.split(b"\r\n"))
    wait_until(lambda: not a.queue(), what="an empty queue")
    assert "converted for its lines" in a.story(mail)["Attempts"][-1]["Transcript"]


def test_the_other_server_is_down_and_comes_back(world):
    a, b = world("a", "queue_retry 1s\n").start(), world("b").start()
    a.account("ada")
    b.account("bob")
    b.stop()
    mail = a.submit("ada", "bob@b.example")
    wait_until(lambda: any(q["Attempts"] > 0 for q in a.queue()), 20, "a first attempt")
    row, = a.queue()
    assert row["State"] == "waiting" and row["NextAttempt"] and row["LastAnswer"], row
    b.start()  # nobody tells the queue: its schedule finds out
    wait_until(lambda: b.inbox("bob"), 30, "the mail")
    assert len(b.inbox("bob")) == 1
    wait_until(lambda: not a.queue(), what="an empty queue")  # b has it before a knows that
    outcomes = [x["Outcome"] for x in a.story(mail)["Attempts"]]
    assert outcomes[0] == "deferred" and outcomes[-1] == "delivered"


def test_unknown_there_is_returned_to_the_sender(world):
    a, b = world("a").start(), world("b").start()
    a.account("ada")
    b.account("bob")
    mail = a.submit("ada", ["nobody@b.example", "bob@b.example"])
    wait_until(lambda: a.inbox("ada"), 20, "the report")
    report, = a.inbox("ada")
    text = report.decode("utf-8", "replace")
    assert "multipart/report" in text and "report-type=delivery-status" in text.replace("\r\n\t", " ").replace('"', "")
    assert "Action: failed" in text and "Status: 5.1.1" in text and "Final-Recipient: rfc822;nobody@b.example" in text.replace("; ", ";")
    assert "Auto-Submitted: auto-replied" in text and "bob@b.example" not in text.split("Content-Type: message/delivery-status", 1)[1].split("\r\n--")[0]
    assert len(b.inbox("bob")) == 1
    states = {q["Recipient"]: q["State"] for q in a.story(mail)["Queue"]}
    assert states == {"nobody@b.example": "bounced", "bob@b.example": "delivered"}


def test_a_server_of_seven_bits(world):
    """An old server behind a route gets what it takes, the story says so; what may not be changed is returned."""
    old = Receiver(["PIPELINING", "SIZE 1000000"])
    a = world("a", f"route old {{\n  to old.example\n  auth yes\n  action smarthost\n  host 127.0.0.1:{old.port}\n}}\n").start()
    a.account("ada")
    head = b"From: ada@a.example\r\nMIME-Version: 1.0\r\nContent-Type: "
    text = b"text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + "Grüße\r\n.\r\n".encode()
    mail = a.submit("ada", "bob@old.example", head + text)
    wait_until(lambda: not a.queue(), 20, "an empty queue")
    assert old.mails[0]["data"].isascii() and decoded(old.mails[0]["data"]) == "Grüße\r\n.\r\n".encode()
    story = a.api(f"/api/v1/admin/explain/{mail}?format=text", raw=True)
    assert b"        converted to 7-bit: the server does not offer 8BITMIME\n" in story, story
    mail = a.submit("ada", "bob@old.example", head + b"multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Type: " + text +
                    b"\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\n-----\r\n--b--\r\n")
    wait_until(lambda: a.inbox("ada"), 20, "the report")
    assert b"Status: 5.6.3" in a.inbox("ada")[0] and len(old.mails) == 1


def test_a_domain_that_takes_no_mail(world):
    a = world("a").start()
    a.account("ada")
    a.submit("ada", "x@nullmx.example")
    wait_until(lambda: a.inbox("ada"), 20, "the report")
    assert b"5.1.10" in a.inbox("ada")[0]


def test_the_queue_outlives_a_kill(world):
    a, b = world("a").start(), world("b")
    a.account("ada")
    ids = [a.submit("ada", "bob@b.example") for _ in range(5)]
    a.kill()
    b.start()
    b.account("bob")
    a.start()
    subprocess.run([PENFOLD, "queue", "flush"], env={**os.environ, "PENFOLD_URL": f"unix:{a.dir}/admin.sock"}, check=True, capture_output=True)
    wait_until(lambda: len(b.inbox("bob")) >= 5, 30, "the mails")
    wait_until(lambda: not a.queue(), what="an empty queue")
    assert len(b.inbox("bob")) == 5
    for mail in ids:
        assert a.story(mail)["Queue"][0]["State"] == "delivered"


@pytest.mark.parametrize("rcpt", [
    "v%victim.example@a.example", "victim.example!v@a.example", '"v@victim.example"@a.example', "v@victim.example@a.example",
    "@a.example:v@victim.example", "v@victim.example", "v@VICTIM.example", "v@victim.example.", "v@[192.0.2.9]", "v@[IPv6:2001:db8::9]",
    '"v%victim.example"@a.example', "v@a.example.victim.example", "v@\u0430.example"])
def test_no_open_relay(world_of_one, rcpt):
    """Trick addresses: none of them leaves, none of them is taken for a local one."""
    with socket.create_connection(("127.0.0.1", world_of_one.mx), 20) as sock:
        f = sock.makefile("rwb", buffering=0)

        def said():
            while (line := f.readline())[3:4] == b"-":
                pass
            return line

        said()
        for line in ["EHLO x", "MAIL FROM:<x@y.example>"]:
            f.write(line.encode() + b"\r\n")
            assert said().startswith(b"250")
        f.write(f"RCPT TO:<{rcpt}>\r\n".encode())
        assert said()[:1] == b"5"
    assert world_of_one.queue() == []


def command(server, *args, stdin=""):
    return subprocess.run([PENFOLD, *args], env={**os.environ, "PENFOLD_URL": f"unix:{server.dir}/admin.sock"}, input=stdin,
                          capture_output=True, text=True, timeout=30)


def test_accounts_by_command(world_of_one):
    s = world_of_one
    assert command(s, "account", "add", "eve@a.example", "name=Eve", "--password-stdin", stdin="first one\n").returncode == 0
    s.submit("eve", "eve@a.example", password="first one")
    assert command(s, "account", "add", "eve@a.example", "--password-stdin", stdin="x\n").returncode == 69
    assert command(s, "account", "password", "eve@a.example", "--password-stdin", stdin="second\n").returncode == 0
    s.submit("eve", "eve@a.example", password="second")
    with pytest.raises(smtplib.SMTPAuthenticationError):
        s.submit("eve", "eve@a.example", password="first one")
    assert command(s, "account", "set", "eve@a.example", "name=Eva").returncode == 0
    shown = json.loads(command(s, "account", "show", "eve@a.example", "--json").stdout)
    assert shown["name"] == "Eva" and shown["HasPassword"] and "password" not in shown
    assert command(s, "alias", "add", "both@a.example", "to=eve@a.example").returncode == 0
    assert "both@a.example" in command(s, "alias", "list").stdout
    wait_until(lambda: len(s.inbox("eve")) == 2, what="two mails")
    s.submit("eve", "both@a.example", password="second")
    wait_until(lambda: len(s.inbox("eve")) == 3, what="the mail by the alias")
    assert command(s, "account", "add", "eve2@a.example", "password=x").returncode == 64
    assert command(s, "account", "add", "eve@else.example", "--password-stdin", stdin="x\n").returncode == 69
    assert command(s, "account", "remove", "eve@a.example").returncode == 0
    assert command(s, "account", "show", "eve@a.example").returncode == 69


READ, OPERATE = "/api/v1/admin/queue", "/api/v1/admin/queue/retry"


@pytest.mark.parametrize("role, status", [
    (None, {"read": 401, "operate": 401, "admin": 401, "send": 401, "delete": 401}),
    ("wrong", {"read": 401, "operate": 401, "admin": 401, "send": 401, "delete": 401}),
    ("send", {"read": 403, "operate": 403, "admin": 403, "send": 200, "delete": 403}),
    ("reader", {"read": 200, "operate": 403, "admin": 403, "send": 403, "delete": 403}),
    ("operator", {"read": 200, "operate": 200, "admin": 403, "send": 200, "delete": 200}),
    ("admin", {"read": 200, "operate": 200, "admin": 200, "send": 200, "delete": 200})])
def test_tokens_allow_what_their_role_says(world_of_one, role, status):
    s, name = world_of_one, f"t-{role}"
    s.api("/api/v1/admin/accounts/tok@a.example", "PUT", {"password": "x"})
    token = None
    if role == "wrong":
        token = "no-such-token"
    elif role:
        token = command(s, "token", "add", name, "--role", role, "--account", "tok@a.example").stdout.strip()
    mail = {"From": {"Email": "tok@a.example"}, "To": [{"Email": "tok@a.example"}], "Subject": "x", "Text": "y"}
    assert s.over_tcp(READ, token=token)[0] == status["read"]
    assert s.over_tcp(OPERATE, "POST", {}, token)[0] == status["operate"]
    assert s.over_tcp("/api/v1/admin/domains/made.example", "PUT", {}, token)[0] == status["admin"]
    assert s.over_tcp("/api/v1/messages", "DELETE", {"IDs": ["x"]}, token)[0] == status["delete"]
    code, text = s.over_tcp("/api/v1/send", "POST", mail, token)
    assert code == status["send"], text
    assert s.over_tcp("/api/v1/messages", token=token)[0] == status["read"]  # what a sandbox shows everybody
    assert s.over_tcp("/livez")[0] == 200
    if role and role != "wrong":
        assert command(s, "token", "remove", name).returncode == 0
        assert s.over_tcp(READ, token=token)[0] == 401


def test_a_token_sends_as_its_account_alone(world_of_one):
    s = world_of_one
    for name in "tok", "other":
        s.api(f"/api/v1/admin/accounts/{name}@a.example", "PUT", {"password": "x"})
    token = command(s, "token", "add", "shop", "--account", "tok@a.example").stdout.strip()
    mail = {"To": [{"Email": "tok@a.example"}], "Subject": "x", "Text": "y"}
    assert s.over_tcp("/api/v1/send", "POST", {**mail, "From": {"Email": "tok@a.example"}}, token)[0] == 200
    before = len(s.inbox("tok"))
    code, text = s.over_tcp("/api/v1/send", "POST", {**mail, "From": {"Email": "other@a.example"}}, token)
    assert code == 403 and b"Error" in text
    for field in ({"Subject": "x\r\nBcc: v@victim.example"}, {"Headers": {"X-A": "b\r\nX-C: d"}}, {"Headers": {"X\r\nA": "b"}}):
        assert s.over_tcp("/api/v1/send", "POST", {**mail, "From": {"Email": "tok@a.example"}, **field}, token)[0] == 400
    assert len(s.inbox("tok")) == before and s.queue() == []
    command(s, "token", "remove", "shop")


def test_a_hash_is_one_for_a_configuration(tmp_path):
    done = subprocess.run([PENFOLD, "account", "hash", "--password-stdin"], input="pencil\n", capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith("$y$") and "SCRAM-SHA-256$" in done.stdout


@pytest.fixture(scope="module")
def world_of_one(tmp_path_factory):
    path = tmp_path_factory.mktemp("one")
    names = dns.Server(path, {"a.example": "@ MX 10 mx\nmx A 127.0.0.1\n"})
    s = Server(path, "a", free_port(), names).start()
    yield s
    s.stop()
    names.stop()


def test_what_was_refused_is_explained(world_of_one):
    """No message came of it: the session has the story, in words and as JSON."""
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        with smtplib.SMTP("127.0.0.1", world_of_one.mx, timeout=20) as s:
            s.sendmail("x@y.example", ["nobody@a.example"], "Subject: s\r\n\r\nt\r\n")
    def session():
        lines = [line for line in open(world_of_one.log) if "smtp_rejected" in line and 'session="' in line]
        return lines[-1].split('session="', 1)[1].split('"', 1)[0] if lines else None

    wait_until(session, what="the line of the log that names the session")

    def told():
        return command(world_of_one, "explain", session()).stdout
    wait_until(told, what="the session, once it has ended")
    assert "no message was accepted" in told() and "550 5.1.1 no such address here" in told() and "on listener mx" in told()
    assert json.loads(command(world_of_one, "explain", "--json", session()).stdout)["Messages"] == []
    nothing = command(world_of_one, "explain", "A" * 22)
    assert nothing.returncode == 69 and "no such message or session" in nothing.stderr

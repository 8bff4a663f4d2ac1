"""penfold send, against servers that behave and servers that do not.

Each server is a few lines of Python in a thread: `say` and `hear` are its script.  Whatever it does, the command must
end in bounded time, with a sentence and the right exit status.
"""
import base64
import email
import email.policy
import json
import os
import socket
import ssl
import subprocess
import threading
import time

import pytest

from conftest import PENFOLD

OK, USAGE, DATAERR, NOINPUT, NOHOST, REFUSED, LATER, PROTOCOL, NOPERM = 0, 64, 65, 66, 68, 69, 75, 76, 77


class Talk:
    """The server's end of one connection."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.lines = []
        self.messages = []

    def say(self, text):
        self.sock.sendall(text if isinstance(text, bytes) else text.encode() + b"\r\n")

    def hear(self):
        while b"\n" not in self.buffer:
            more = self.sock.recv(65536)
            if not more:
                return None
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        self.lines.append(line.rstrip(b"\r").decode("utf-8", "replace"))
        return self.lines[-1]

    def hear_data(self):
        lines = []
        while True:
            at = self.buffer.find(b"\n")
            if at < 0:
                more = self.sock.recv(262144)
                if not more:
                    return None
                self.buffer += more
                continue
            part = self.buffer.split(b"\n")
            self.buffer = part.pop()
            for i, line in enumerate(part):
                if line == b".\r":
                    self.buffer = b"\n".join(part[i + 1:] + [self.buffer])
                    self.messages.append(b"".join(lines))
                    return self.messages[-1]
                lines.append((line[1:] if line.startswith(b".") else line) + b"\n")

    def hear_rest(self):
        """Until the client closes."""
        try:
            while self.sock.recv(65536):
                pass
        except OSError:
            pass

    def start_tls(self, context):
        self.sock = context.wrap_socket(self.sock, server_side=True)


class Server:
    """Listens on a free port of 127.0.0.1 and plays `script(talk)` with each connection."""

    def __init__(self, script, listener=None):
        self.script = script
        self.talks = []
        self.listener = listener or socket.create_server(("127.0.0.1", 0))
        name = self.listener.getsockname()
        self.address = name if isinstance(name, str) else "%s:%d" % ("[::1]" if len(name) == 4 else name[0], name[1])
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(20)
            talk = Talk(sock)
            self.talks.append(talk)
            threading.Thread(target=self.play, args=(talk,), daemon=True).start()

    def play(self, talk):
        try:
            self.script(talk)
        except OSError:
            pass
        finally:
            talk.sock.close()

    def close(self):
        self.listener.close()
        for talk in self.talks:
            talk.sock.close()

    @property
    def messages(self):
        return [m for t in self.talks for m in t.messages]

    @property
    def lines(self):
        return [l for t in self.talks for l in t.lines]


@pytest.fixture
def serve():
    servers = []

    def start(script, listener=None):
        servers.append(Server(script, listener))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def send(server, *args, limit=15, stdin=None, env=None):
    """Runs the command: (status, stdout, stderr).  It must end within `limit` seconds."""
    argv = [PENFOLD, "send", "--server", getattr(server, "address", server), "--to", "c@example.org", *args]
    done = subprocess.run(argv, capture_output=True, timeout=limit, input=stdin or b"", env=dict(os.environ, **(env or {})))
    assert done.returncode >= 0, f"killed by signal {-done.returncode}: {done.stderr!r}"
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def good(extensions=("PIPELINING", "8BITMIME", "SIZE 1000000"), rcpt=lambda line: "250 ok", final=lambda: "250 taken",
         tls=None, auth=None, lmtp=False, greet=True):
    """The script of a server that behaves."""

    def script(talk):
        if greet:
            talk.say("220 mx.example.org ESMTP")
        accepted = 0
        while (line := talk.hear()) is not None:
            verb = line.split(" ")[0].upper()
            if verb in ("EHLO", "LHLO"):
                offered = [e for e in extensions if e != "STARTTLS" or not isinstance(talk.sock, ssl.SSLSocket)]
                lines = ["mx.example.org"] + offered
                talk.say("\r\n".join("250%s%s" % (" " if i == len(lines) - 1 else "-", l) for i, l in enumerate(lines)))
            elif verb == "STARTTLS":
                talk.say("220 go")
                talk.start_tls(tls)
            elif verb == "AUTH":
                talk.say(auth(talk, line))
            elif verb == "RCPT":
                answer = rcpt(line)
                accepted += answer.startswith("2")
                talk.say(answer)
            elif verb == "DATA" and not accepted:
                talk.say("503 no recipients")
            elif verb == "DATA":
                talk.say("354 go")
                if talk.hear_data() is None:
                    return
                for _ in range(accepted if lmtp else 1):
                    talk.say(final())
                accepted = 0
            elif verb == "QUIT":
                talk.say("221 bye")
                return
            else:
                accepted = 0 if verb in ("MAIL", "RSET") else accepted
                talk.say("250 ok")

    return script


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """An authority, a certificate of it for 127.0.0.1, one for another name, one that has expired."""
    folder = tmp_path_factory.mktemp("ca")

    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority", "-days", "30")
    for name, san, days in (("good", "IP:127.0.0.1", "30"), ("other", "DNS:other.example.org", "30"), ("old", "IP:127.0.0.1", "-1")):
        openssl("req", *key, "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
        (folder / (name + ".ext")).write_text("subjectAltName=" + san)
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", name + ".pem", "-days", days, "-extfile", name + ".ext")
    return folder


def context(certificates, name="good"):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(certificates / (name + ".pem"), certificates / (name + ".key"))
    return c


def parsed(message):
    return email.message_from_bytes(message, policy=email.policy.default)


# ---- messages ----

def test_simple(serve):
    server = serve(good())
    status, out, err = send(server, "--from", "Ann <a@example.org>", "--subject", "hello", "--body", "one\ntwo\n.\n..x")
    assert (status, err) == (OK, "")
    assert "> MAIL FROM:<a@example.org> SIZE=" in out and "< 250 taken" in out and "> QUIT" in out
    assert "1 of 1 sent" in out
    mail = parsed(server.messages[0])
    assert mail["From"] == "Ann <a@example.org>" and mail["To"] == "c@example.org" and mail["Subject"] == "hello"
    assert mail["Message-ID"] and mail["Date"] and mail["MIME-Version"] == "1.0"
    assert mail.get_content().replace("\r\n", "\n") == "one\ntwo\n.\n..x\n"


def test_everything(serve, tmp_path):
    server = serve(good())
    attachment = tmp_path / "Grüße an alle, die lange Dateinamen mögen, auch wenn keiner sie liest.png"
    attachment.write_bytes(bytes(range(256)) * 50)
    plain = tmp_path / "a.txt"
    plain.write_bytes(b"From me\n.\n")
    text = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. " * 5 + "\n日本語\n"
    status, _, err = send(server, "--from", "Jörg Müller <j@example.org>", "--to", '"Doe, Jane" <jane@example.org>',
                          "--subject", "Grüße aus Köln " * 10, "--body", text, "--html", "<p>ü &amp; x</p>",
                          "--attach", str(attachment), "--attach", str(plain), "--header", "X-Tag: früh", "--header", "Reply-To: r@example.org")
    assert (status, err) == (OK, "")
    raw = server.messages[0]
    assert all(len(line) <= 78 for line in raw.split(b"\r\n")) and max(raw) < 128
    mail = parsed(raw)
    assert mail["From"].addresses[0].display_name == "Jörg Müller"
    assert [a.addr_spec for a in mail["To"].addresses] == ["c@example.org", "jane@example.org"]
    assert mail["Subject"].strip() == ("Grüße aus Köln " * 10).strip()
    assert mail["X-Tag"] == "früh" and mail["Reply-To"] == "r@example.org"
    assert mail.get_content_type() == "multipart/mixed"
    assert mail.get_body(("plain",)).get_content().replace("\r\n", "\n") == text
    assert mail.get_body(("html",)).get_content().strip() == "<p>ü &amp; x</p>"
    files = list(mail.iter_attachments())
    assert [f.get_filename() for f in files] == [attachment.name, "a.txt"]
    assert files[0].get_content() == attachment.read_bytes() and files[0].get_content_type() == "image/png"
    assert server.lines.count("RCPT TO:<jane@example.org>") == 1


@pytest.mark.parametrize("data, want", [
    (b"Subject: x\n\nhi\n.\n.b\n", b"Subject: x\r\n\r\nhi\r\n.\r\n.b\r\n"),
    (b"Subject: x\r\n\r\nhi", b"Subject: x\r\n\r\nhi\r\n"),
    (b"A: b\r\rlone CR\r\n", b"A: b\r\n\r\nlone CR\r\n"),
    (b"A: \xff\xfe\n\n\x01\x80\n", b"A: \xff\xfe\r\n\r\n\x01\x80\r\n"),
    (b"", b""),
])
def test_data(serve, tmp_path, data, want):
    server = serve(good())
    file = tmp_path / "mail"
    file.write_bytes(data)
    assert send(server, "--data", str(file), "--quiet") == (OK, "", "")
    assert send(server, "--data", "-", "--quiet", stdin=data) == (OK, "", "")
    assert server.messages == [want, want]


def test_large(serve):
    server = serve(good(extensions=["PIPELINING", "SIZE 0"]))
    data = b"Subject: large\n\n" + (b"x" * 70 + b"\n") * 150000
    status, _, err = send(server, "--data", "-", "--quiet", stdin=data)
    assert (status, err) == (OK, "")
    assert server.messages[0] == data.replace(b"\n", b"\r\n")


def test_parameters(serve):
    server = serve(good(extensions=["SIZE", "DSN"]))
    status, _, _ = send(server, "--from", "<>", "--param", "RET=HDRS", "--param", "NOTIFY=NEVER", "--param", "ENVID=1", "--ehlo", "me.example.org")
    assert status == OK
    assert server.lines[0] == "EHLO me.example.org"
    assert server.lines[1].startswith("MAIL FROM:<> SIZE=") and server.lines[1].endswith(" RET=HDRS ENVID=1")
    assert server.lines[2] == "RCPT TO:<c@example.org> NOTIFY=NEVER"


def test_many(serve):
    server = serve(good())
    status, out, _ = send(server, "--count", "200", "--connections", "10", "--json")
    result = json.loads(out)
    assert status == OK and result["sent"] == 200 and result["recipients"]["delivered"] == 200
    assert len(server.talks) == 10
    assert len({parsed(m)["Message-ID"] for m in server.messages}) == 200


def test_lmtp(serve):
    answers = iter(["250 ok", "452 4.2.2 full"])
    server = serve(good(lmtp=True, final=lambda: next(answers)))
    status, out, err = send(server, "--lmtp", "--to", "d@example.org")
    assert status == LATER and "d@example.org: deferred: 452 4.2.2 full" in err and "LHLO" in out


def test_unix_socket(serve, tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "lmtp"))
    listener.listen()
    server = serve(good(lmtp=True), listener)
    status, out, err = send(server, "--lmtp")
    assert (status, err) == (OK, "") and len(server.messages) == 1
    assert send(str(tmp_path / "nothing"))[0] == LATER


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 here")
def test_ipv6(serve):
    server = serve(good(), socket.create_server(("::1", 0), family=socket.AF_INET6))
    assert send(server)[0] == OK


def test_old_server(serve):
    """One that knows neither EHLO nor any extension."""

    def script(talk):
        talk.say("220 hi")
        assert talk.hear().startswith("EHLO")
        talk.say("500 what?")
        assert talk.hear().startswith("HELO")
        talk.say("250 hi")
        good(greet=False)(talk)

    server = serve(script)
    status, _, err = send(server, "--data", "-", stdin="Subject: ü\n\n".encode())
    assert (status, err) == (OK, "") and server.lines[2] == "MAIL FROM:<penfold@localhost>"


def test_utf8_address(serve):
    status, _, err = send(serve(good()), "--to", "jörg@example.org")
    assert status == REFUSED and "SMTPUTF8" in err
    server = serve(good(extensions=["SMTPUTF8", "8BITMIME"]))
    assert send(server, "--to", "jörg@example.org")[0] == OK
    assert server.lines[1].endswith(" SMTPUTF8") and "RCPT TO:<jörg@example.org>" in server.lines


def test_too_large_for_the_server(serve):
    server = serve(good(extensions=["SIZE 100"]))
    status, _, err = send(server, "--body", "x" * 200)
    assert status == REFUSED and "5.3.4" in err and not any(l.startswith("MAIL") for l in server.lines)


def test_partly_refused(serve):
    server = serve(good(rcpt=lambda line: "550 5.1.1 nobody" if "bad" in line else "250 ok"))
    status, out, err = send(server, "--to", "bad@example.org", "--json")
    assert status == REFUSED and len(server.messages) == 1
    assert [r["outcome"] for r in json.loads(out)["results"]] == ["delivered", "refused"]


# ---- TLS and AUTH ----

@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_tls(serve, certificates, tls):
    served = context(certificates)
    inner = good(extensions=["PIPELINING", "STARTTLS"], tls=served)

    def script(talk):
        if tls == "implicit":
            talk.start_tls(served)
        inner(talk)

    server = serve(script)
    status, out, err = send(server, "--tls", tls, "--ca-file", str(certificates / "ca.pem"), "--body", "x" * 100000)
    assert (status, err) == (OK, "")
    assert "TLSv1.3" in out and "certificate verified" in out
    assert len(server.messages) == 1
    # no trust in the authority
    status, out, err = send(server, "--tls", tls)
    assert status == PROTOCOL and "certificate" in err
    status, out, err = send(server, "--tls", tls, "--insecure")
    assert status == OK and "certificate not verified" in out


@pytest.mark.parametrize("name, sentence", [("other", "mismatch"), ("old", "expired")])
def test_wrong_certificate(serve, certificates, name, sentence):
    def script(talk):
        talk.start_tls(context(certificates, name))
        talk.say("220 hi")
        talk.hear_rest()

    status, _, err = send(serve(script), "--tls", "implicit", "--ca-file", str(certificates / "ca.pem"))
    assert status == PROTOCOL and sentence in err


def test_starttls_not_offered(serve):
    server = serve(good())
    status, _, err = send(server, "--tls", "starttls")
    assert status == PROTOCOL and "does not offer STARTTLS" in err and not server.messages


def test_stray_bytes_after_starttls(serve):
    def script(talk):
        talk.say("220 hi")
        talk.hear()
        talk.say("250-hi\r\n250 STARTTLS")
        talk.hear()
        talk.say("220 go\r\n250-hi\r\n250 AUTH PLAIN")
        talk.hear_rest()

    server = serve(script)
    status, _, err = send(server, "--tls", "starttls", "--insecure", "--auth", "joe:secret")
    assert status == PROTOCOL and "behind the answer to STARTTLS" in err
    assert server.lines[1:] == ["STARTTLS"]


def plain(talk, line):
    return "235 in" if base64.b64decode(line.split(" ")[2]) == b"\0joe\0pen:cil" else "535 5.7.8 no"


def test_auth(serve):
    server = serve(good(extensions=["AUTH PLAIN LOGIN"], auth=plain))
    status, out, _ = send(server, "--tls", "none", "--auth", "joe:pen:cil")
    assert status == OK and "AUTH PLAIN ****" in out
    assert base64.b64encode(b"\0joe\0pen:cil").decode() not in out
    status, _, err = send(server, "--tls", "none", "--auth", "joe:wrong")
    assert status == NOPERM and "AUTH was refused: 5.7.8 no" in err
    status, _, err = send(server, "--auth", "joe:pen:cil")
    assert status == NOPERM and "there is no TLS" in err
    status, _, _ = send(server, "--auth-insecure", env={"PENFOLD_AUTH": "joe:pen:cil"})
    assert status == OK


def test_auth_later(serve):
    status, _, _ = send(serve(good(extensions=["AUTH PLAIN"], auth=lambda t, l: "454 4.7.0 not now")), "--tls", "none", "--auth", "joe:x")
    assert status == LATER


def test_auth_not_offered(serve):
    status, _, err = send(serve(good()), "--tls", "none", "--auth", "joe:x")
    assert status == NOPERM and "does not offer AUTH" in err


def test_scram_that_proves_nothing(serve):
    """A server that says yes without knowing the password."""
    server = serve(good(extensions=["AUTH SCRAM-SHA-256"], auth=lambda t, l: "235 welcome"))
    status, _, err = send(server, "--auth", "joe:pencil")
    assert status == PROTOCOL and "has not proven" in err and not server.messages


def login(talk, line):
    """AUTH LOGIN: asks for the name unless it came along, then for the password."""
    words = line.split(" ")
    if len(words) == 2:
        talk.say("334 VXNlcm5hbWU6")
        words.append(talk.hear())
    talk.say("334 UGFzc3dvcmQ6")
    answer = [base64.b64decode(w) for w in (words[2], talk.hear())]
    return "235 in" if answer == [b"joe", b"pen:cil"] else "535 5.7.8 no"


@pytest.mark.parametrize("mechanism, auth", [("PLAIN", plain), ("LOGIN", login)])
@pytest.mark.parametrize("json_output", [False, True])
def test_transcript_hides_secrets(serve, mechanism, auth, json_output):
    server = serve(good(extensions=["AUTH " + mechanism], auth=auth))
    for password, expected in (("pen:cil", OK), ("wrong-one", NOPERM)):
        status, out, err = send(server, "--auth-insecure", "--auth", "joe:" + password, *(["--json"] if json_output else []))
        said = out + err
        assert status == expected and (json_output or f"AUTH {mechanism}" in out and "****" in out)
        for secret in (password, "joe\0" + password, "\0joe\0" + password):
            assert secret not in said and base64.b64encode(secret.encode()).decode().rstrip("=") not in said


@pytest.mark.parametrize("count", [b"1000000000", b"4294967297", b"99999999999999999999", b"-1", b"x"])
def test_scram_of_endless_work(serve, count):
    """RFC 5802 9: the server chooses how much its client computes, within reason."""

    def auth(talk, line):
        nonce = dict(p.split(b"=", 1) for p in base64.b64decode(line.split(" ")[2]).split(b",") if b"=" in p)[b"r"]
        talk.say(b"334 " + base64.b64encode(b"r=%sx,s=QSXCR+Q6sek8bf92,i=%s" % (nonce, count)) + b"\r\n")
        return "501 5.7.0 as you like" if talk.hear() == "*" else "535 5.7.8 no"

    server = serve(good(extensions=["AUTH SCRAM-SHA-256"], auth=auth))
    start = time.monotonic()
    status, _, err = send(server, "--auth", "joe:pencil")
    assert status == PROTOCOL and "too many SCRAM iterations" in err and not server.messages
    assert time.monotonic() - start < 5


# ---- servers that misbehave ----

STEPS = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "body", "final", "QUIT"]


def until(step, then):
    """Behaves up to a step, and does `then(talk)` instead of answering it."""

    def script(talk):
        answers = {"EHLO": "250 hi", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go"}
        if step == "greeting":
            return then(talk)
        talk.say("220 hi")
        while (line := talk.hear()) is not None:
            verb = line.split(" ")[0]
            if verb == step:
                return then(talk)
            talk.say(answers[verb] if verb != "QUIT" else "221 bye")
            if verb == "DATA":
                if step == "body":
                    return then(talk)
                talk.hear_data()
                if step == "final":
                    return then(talk)
                talk.say("250 taken")

    return script


def reset(talk):
    """Closes so that the client sees a reset."""
    talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def endless(piece):
    def then(talk):
        while True:
            talk.say(piece)

    return then


BIG = b"Subject: big\n\n" + (b"x" * 70 + b"\n") * 100000


def big_when(step):
    """A message that does not fit into the socket's buffers, where the server is to be met in the middle of it."""
    return {"stdin": BIG if step == "body" else b"Subject: small\n\nhi\n"}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["close", "reset", "421", "500", "garbage", "nul", "endless line", "endless lines", "changing code", "wrong code"])
def test_misbehaves(serve, step, how):
    act, statuses = {
        "close": (lambda t: None, {LATER}),
        "reset": (reset, {LATER}),
        "421": (lambda t: t.say("421 4.3.2 busy"), {LATER}),
        "500": (lambda t: (t.say("550 5.7.1 go away"), t.hear_rest()), {REFUSED}),
        "garbage": (lambda t: (t.say("what do you want?"), t.hear_rest()), {PROTOCOL}),
        "nul": (lambda t: (t.say(b"2\0050 ok\r\n"), t.hear_rest()), {PROTOCOL}),
        "endless line": (endless(b"2" * 10000), {PROTOCOL}),
        "endless lines": (endless(b"250-and\r\n" * 100), {PROTOCOL}),
        "changing code": (lambda t: (t.say("250-a\r\n550 b"), t.hear_rest()), {PROTOCOL}),
        "wrong code": (lambda t: (t.say("399 what"), t.hear_rest()), {PROTOCOL}),
    }[how]
    if step == "QUIT":
        statuses = {OK}  # the message is through, whatever comes now
    if step == "body" and how in ("close", "reset", "421", "500"):
        statuses = {LATER, REFUSED} if how == "500" else {LATER}
    if step == "EHLO" and how == "500":
        statuses = {LATER, REFUSED, PROTOCOL}  # HELO is tried then
    if step == "DATA" and how == "wrong code":
        statuses = {LATER}  # an unknown 3yz means what 354 does (RFC 5321 4.3.2): the message is sent, and nobody answers
    start = time.monotonic()
    status, out, err = send(serve(until(step, act)), "--timeout", "2", "--data", "-", **big_when(step))
    assert status in statuses, (out[-500:], err)
    assert time.monotonic() - start < 6
    assert status == OK or err.startswith(("penfold send: ", "c@example.org: "))


@pytest.mark.parametrize("step", STEPS)
def test_stalls(serve, step):
    start = time.monotonic()
    status, _, err = send(serve(until(step, lambda t: threading.Event().wait(10))), "--timeout", "1", "--data", "-", **big_when(step))
    assert time.monotonic() - start < 5
    assert status == (OK if step == "QUIT" else LATER)
    assert step == "QUIT" or "no time left" in err


def test_one_byte_a_moment(serve):
    """Bytes that keep coming do not buy time."""

    def drip(talk):
        for byte in b"250-" + b"x" * 1000:
            talk.say(bytes([byte]))
            time.sleep(0.05)

    start = time.monotonic()
    status, _, err = send(serve(until("EHLO", drip)), "--timeout", "1")
    assert status == LATER and "no time left" in err and time.monotonic() - start < 4


def test_slow_replies_meet_the_total(serve):
    def script(talk):
        talk.say("220 hi")
        while talk.hear() is not None:
            time.sleep(0.4)
            talk.say("250 ok")

    start = time.monotonic()
    status, _, _ = send(serve(script), "--total-timeout", "1", *[x for i in range(20) for x in ("--to", f"{i}@example.org")])
    assert status == LATER and time.monotonic() - start < 4


def test_never_accepts_the_handshake(serve):
    start = time.monotonic()
    status, _, err = send(serve(lambda t: t.hear_rest()), "--tls", "implicit", "--insecure", "--timeout", "1")
    assert status == LATER and "TLS handshake" in err and time.monotonic() - start < 4


def test_plain_server_on_the_tls_port(serve):
    status, _, err = send(serve(good()), "--tls", "implicit", "--insecure", "--timeout", "2")
    assert status == PROTOCOL and "TLS handshake" in err


def test_hostile_terminal(serve):
    """What the server says is shown escaped."""
    server = serve(until("MAIL", lambda t: t.say(b"550 \x1b]0;owned\x07\x1b[2J\x9b31m\r\r\n")))
    status, out, err = send(server)
    assert status == REFUSED
    assert "\x1b" not in out + err and "\x07" not in out + err and "\\x1b" in err


def test_answers_before_questions(serve):
    status, _, err = send(serve(lambda t: (t.say("220 hi\r\n250 hi\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken"), t.hear_rest())))
    assert status == PROTOCOL


def test_nobody_listens():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        status, _, err = send("127.0.0.1:%d" % s.getsockname()[1])
    assert status == LATER and "Connection refused" in err


def test_lost_acknowledgement_is_unknown(serve):
    server = serve(until("final", lambda t: None))
    status, out, _ = send(server, "--json")
    assert status == LATER and json.loads(out)["results"][0]["outcome"] == "unknown"


# ---- usage ----

@pytest.mark.parametrize("args, status", [
    (["--server", "127.0.0.1:99999"], USAGE),
    (["--server", ":25"], USAGE),
    (["--tls", "maybe"], USAGE),
    (["--count", "0"], USAGE),
    (["--to", "a@b\r\nRCPT TO:<x@y>"], USAGE),
    (["--from", "a@b\nx"], USAGE),
    (["--param", "X=1 2"], USAGE),
    (["--auth", "nocolon"], USAGE),
    (["--mech", "PLAIN"], USAGE),
    (["--nonsense"], USAGE),
    (["--header", "no colon"], USAGE),
    (["--header", "X: a\r\nBcc: b@c"], USAGE),
    (["--subject", "a\nb"], USAGE),
    (["--data", "/nonexistent"], NOINPUT),
    (["--attach", "/nonexistent"], NOINPUT),
    (["--data", "-", "--subject", "x"], USAGE),
    (["--tls", "implicit", "--ca-file", "/nonexistent"], NOINPUT),
])
def test_usage(serve, args, status):
    server = serve(good())
    got, _, err = send(server, *args)
    assert got == status and err.strip() and not server.messages


def test_nul_in_data(serve):
    server = serve(good())
    status, _, err = send(server, "--data", "-", stdin=b"a: b\n\n\0\n")
    assert status == DATAERR and "NUL" in err and not server.talks


def test_recipient_is_needed():
    assert subprocess.run([PENFOLD, "send"], capture_output=True).returncode == USAGE

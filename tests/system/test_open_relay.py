"""No open relay: addresses that pretend to be local, on every kind of listener and by the API.  A stranger gets nothing
out of the server; who has an account gets out what he may send, so the refusals are not for want of a route."""
import json
import os
import smtplib
import socket
import ssl
import subprocess

import pytest

from conftest import PENFOLD, free_port, wait_until
from test_two_servers import Server

TRICKS = [
    "v%victim.example@a.example", "victim.example!v@a.example", '"v@victim.example"@a.example', "v@victim.example@a.example",
    "v@a.example@victim.example", "@a.example:v@victim.example", "@a.example,@b.example:v@victim.example", "v@victim.example",
    "v@VICTIM.example", "v@victim.example.", "v@[192.0.2.9]", "v@[IPv6:2001:db8::9]", '"v%victim.example"@a.example',
    "v@a.example.victim.example", "v@\u0430.example", "v%victim.example@A.EXAMPLE", "v%victim.example@also.example",
    "v%victim.example", "v%victim.example@[127.0.0.1]", "v%victim.example@localhost", "v%victim.example@mx.a.example"]
SENDERS = ["<x@y.example>", "<>", "<ada@a.example>", "<x@y.example> AUTH=ada@a.example"]


class NoNames:
    address, anchor = "127.0.0.1:9", None


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("relay")
    path.chmod(0o755)
    ports = {name: free_port() for name in ["implicit", "lmtp", "open", "optional"]}
    more = "domain also.example {\n}\n" + "".join(
        f"listen {name} {{\n  address 127.0.0.1:{ports[name]}\n  {lines}\n}}\n" for name, lines in [
            ("implicit", "policy submission\n  tls implicit\n  auth required"), ("lmtp", "protocol lmtp"),
            ("open", "policy mx"), ("optional", "policy mx\n  tls starttls\n  auth offered")])
    more += f"listen local {{\n  address unix:{path}/a/smtp.sock\n  policy mx\n}}\n"
    s = Server(path, "a", free_port(), NoNames, more=more)
    s.ports = {**ports, "mx": s.mx, "submission": s.submission}
    s.start()
    s.account("ada")
    yield s
    s.stop()


class Talk:
    def __init__(self, server, listener):
        if listener == "local":
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(20)
            self.sock.connect(f"{server.dir}/smtp.sock")
        else:
            self.sock = socket.create_connection(("127.0.0.1", server.ports[listener]), 20)
        if listener == "implicit":
            self.sock = ssl._create_unverified_context().wrap_socket(self.sock)
        self.file = self.sock.makefile("rwb", buffering=0)
        assert self.said()[0] == "2"
        self.hello = "LHLO x" if listener == "lmtp" else "EHLO x"
        assert self.say(self.hello)[0] == "2"
        if listener in ("submission", "optional"):
            assert self.say("STARTTLS")[0] == "2"
            self.sock = ssl._create_unverified_context().wrap_socket(self.sock)
            self.file = self.sock.makefile("rwb", buffering=0)
            assert self.say(self.hello)[0] == "2"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def said(self):
        while (line := self.file.readline())[3:4] == b"-":
            pass
        return line.decode()

    def say(self, line):
        self.file.write(line.encode() + b"\r\n")
        return self.said()


@pytest.mark.parametrize("listener", ["mx", "submission", "implicit", "lmtp", "open", "optional", "local"])
def test_a_stranger_gets_nothing_out(server, listener):
    users_only = listener in ("submission", "implicit")
    refused = 0
    for sender in SENDERS:
        for trick in TRICKS:
            with Talk(server, listener) as t:  # a connection each: too many errors would end it
                begun = t.say(f"MAIL FROM:{sender}" + (" SMTPUTF8" if not trick.isascii() else ""))
                if users_only:
                    assert begun.startswith("530"), begun
                answer = t.say(f"RCPT TO:<{trick}>")
                assert answer[0] == "5", (sender, trick, answer)
                refused += 1
                assert t.say("DATA")[0] == "5"
    assert refused == len(SENDERS) * len(TRICKS)
    assert server.queue() == []


@pytest.mark.parametrize("line", ["XCLIENT NAME=local ADDR=127.0.0.1 LOGIN=ada@a.example", "PROXY TCP4 127.0.0.1 127.0.0.1 1 25",
                                  "AUTH PLAIN AGFkYUBhLmV4YW1wbGUAd3Jvbmc=", "AUTH EXTERNAL =", "AUTH ANONYMOUS eA=="])
def test_nobody_becomes_somebody_by_a_word(server, line):
    for listener in ["mx", "open", "optional", "local"]:
        with Talk(server, listener) as t:
            assert t.say(line)[0] == "5"
            answer = t.say("MAIL FROM:<ada@a.example>")
            assert answer[0] == "5" or t.say("RCPT TO:<v@victim.example>")[0] == "5"
    assert server.queue() == []


@pytest.mark.parametrize("trick", [t for t in TRICKS if t != "v%victim.example"])
def test_the_api_without_an_account_sends_to_no_stranger(server, trick):
    body = {"From": {"Email": "x@y.example"}, "To": [{"Email": trick}], "Subject": "s", "Text": "t"}
    assert server.over_tcp("/api/v1/send", "POST", body)[0] == 401
    assert server.over_tcp("/api/v1/send", "POST", body, "wrong")[0] == 401
    with pytest.raises(OSError):  # who comes by the socket is the administrator, and still not a relay for anybody
        server.api("/api/v1/send", "POST", body)
    assert server.queue() == []


def test_a_token_sends_as_its_account_alone(server):
    made = subprocess.run([PENFOLD, "token", "add", "t", "--role", "send", "--account", "ada@a.example", "--json"],
                          env={**os.environ, "PENFOLD_URL": f"unix:{server.dir}/admin.sock"}, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    token = json.loads(made.stdout)["Token"] if made.stdout.lstrip().startswith("{") else made.stdout.split()[-1]
    body = {"From": {"Email": "x@y.example"}, "To": [{"Email": "v@victim.example"}], "Subject": "s", "Text": "t"}
    assert server.over_tcp("/api/v1/send", "POST", body, token)[0] != 200
    assert server.queue() == []
    body["From"]["Email"] = "ada@a.example"
    assert server.over_tcp("/api/v1/send", "POST", body, token)[0] == 200
    wait_until(lambda: [q["Recipient"] for q in server.queue()] == ["v@victim.example"], what="the mail of an account")
    server.api("/api/v1/admin/queue/delete", "POST", {})


def test_who_has_an_account_may(server):
    mail = server.submit("ada", "v@victim.example")
    wait_until(lambda: [q["Recipient"] for q in server.queue()] == ["v@victim.example"], what="the mail of an account")
    server.api("/api/v1/admin/queue/delete", "POST", {"id": mail})
    with pytest.raises(smtplib.SMTPException):
        with smtplib.SMTP("127.0.0.1", server.submission, timeout=20) as s:
            s.starttls(context=ssl._create_unverified_context())
            s.login("ada@a.example", "secret")
            s.sendmail("someone@else.example", ["v@victim.example"], "Subject: s\r\n\r\nt\r\n")

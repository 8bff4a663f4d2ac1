"""A mail server at work: others that it delivers to, people who send by it, one who operates it, and the books (ledger.py).

`World.at(step)` is called, in the thread of the other server, when it has come to "DATA", the final "dot", "answered" (that), "refused" (a
recipient or a message), "RSET".
"""
import base64
import os
import pathlib
import random
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error

import dns
from conftest import PENFOLD, Penfold, Smtp, free_port, wait_until
from ledger import Ledger, Mail, message
from receiver import Receiver

USERS = ["u1", "u2", "u3", "postmaster"]
COMMAND = """#!/bin/sh
f=$(mktemp "%s/.XXXXXX") || exit 75
{ printf '%%s\\n' "$RECIPIENT"; cat; } >"$f" && mv "$f" "%s/${f##*/.}"
"""


def alive(pid):
    try:
        return "Z" not in open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1][:3]
    except OSError:
        return False


class World:
    """The server, those it delivers to, and the books."""

    def __init__(self, path, program=PENFOLD, more=""):
        self.path, self.ledger, self.at, self.seen_mails, self.uids = path, Ledger(), lambda step: None, {}, {}
        self.smart, self.lmtp = (Receiver(replies=self.replies(), lmtp=lmtp) for lmtp in (False, True))
        self.names = dns.Server(path, {"mx.test": "@ MX 10 mx\nmx A 127.0.0.1\n"}, ttl=1)
        self.submission, self.open = free_port(), pathlib.Path(tempfile.mkdtemp(prefix="penfold-"))
        self.open.chmod(0o755)  # for other users: pytest's own folder is shut again by each pytest that starts
        self.got, self.command = self.open / "got", self.open / "command"
        self.got.mkdir()
        self.got.chmod(0o777)
        self.command.write_text(COMMAND % (self.got, self.got))
        self.command.chmod(0o755)
        self.make_certificate()
        self.p = Penfold(path / "data", ["-c", str(path / "penfold.conf")], command="serve", ports=False)
        self.p.argv[0] = str(program)
        (path / "penfold.conf").write_text(self.config() + more.format(open=self.open))
        self.p.start()
        for user in USERS:
            self.p.api(f"/api/v1/admin/accounts/{user}@here.test?how=new", "PUT", {"password": "secret"})

    def make_certificate(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout",
                        self.path / "key.pem", "-out", self.path / "cert.pem", "-subj", "/CN=here.test"], check=True, capture_output=True)

    def config(self):
        route = "route {0} {{\n  to {0}.test\n  action {1}\n  {2}\n}}\n"
        return (f"user root\nhostname mx.here.test\ndata {self.path}/data\nworkers 2\ndelivery_workers 2\ntls_certificate {self.path}/cert.pem\n"
                f"tls_key {self.path}/key.pem\ndns {self.names.address}\ndns_anchor none\nrelay_loopback yes\nrelay_networks 127.0.0.1\n"
                f"queue_retry 1s\nqueue_delay_notice 3s\njournal_segment_size 8MiB\nauth_failures_max 0\n"
                f"listen mx {{\n  address 127.0.0.1:{self.p.smtp}\n}}\n"
                f"listen submit {{\n  address unix:{self.path}/submit\n}}\n"
                f"listen submission {{\n  address 127.0.0.1:{self.submission}\n  policy submission\n  tls implicit\n  auth required\n}}\n"
                f"listen web {{\n  protocol http\n  address 127.0.0.1:{self.p.http}\n  access open\n}}\ndomain here.test {{\n}}\n"
                f"site mx {{\n  match mx.test\n  port {self.smart.port}\n}}\nroute home {{\n  to local\n  action mailbox\n}}\n"
                + route.format("smart", "smarthost", f"host 127.0.0.1:{self.smart.port}")
                + route.format("out", "smarthost", f"host 127.0.0.1:{self.smart.port}")
                + route.format("lmtp", "lmtp", f"host 127.0.0.1:{self.lmtp.port}")
                + route.format("pipe", "pipe", f"command {self.command}\n  run_as nobody"))

    # ---- the other servers ----

    def replies(self):
        def rcpt(session, line):
            if b"<no" in line:
                session.say(b"550 5.1.1 nobody here\r\n")
                self.at("refused")
                return b""
            return b"451 4.7.1 later\r\n" if b"<later" in line else None

        def dot(session, line):
            mail = session.mail
            spam = any(b"<spam" in to for to in mail["to"])
            mail["taken"] = bool(mail["to"]) and not spam
            self.at("dot")
            session.say((b"554 5.7.1 spam\r\n" if spam else b"250 2.0.0 taken\r\n") * (len(mail["to"]) if session.server.lmtp else 1))
            self.at("refused" if spam else "answered")
            return b""
        def data(session, line):
            self.at("DATA")
            return None if session.mail and session.mail["to"] else b"554 5.5.1 no valid recipients\r\n"
        return {"RCPT": rcpt, "DATA": data, "RSET": lambda session, line: self.at("RSET"), ".": dot}

    # ---- what has come where ----

    def look(self):
        for server in (self.smart, self.lmtp):
            seen = self.seen_mails.get(server, 0)
            fresh = server.mails[seen:]
            self.seen_mails[server] = seen + len(fresh)
            for mail in fresh:
                assert "taken" in mail or wait_until(lambda: "taken" in mail, what="the end of a receiver's thread")
                if mail["taken"]:
                    self.ledger.found(mail["data"], [to.split(b"<")[1].split(b">")[0].decode() for to in mail["to"]])
        for name in os.listdir(self.got):
            if not name.startswith("."):
                rcpt, _, data = (self.got / name).read_bytes().partition(b"\n")
                (self.got / name).unlink()
                self.ledger.found(data.split(b"\r\n", 1)[1] if data.startswith(b"Return-Path") else data, [rcpt.decode()])
        for user in USERS:
            self.look_into(f"{user}@here.test")

    def look_into(self, user):
        try:
            rows = self.p.api(f"/api/v1/admin/mailboxes/{user}/INBOX?limit=100000&after={self.uids.get(user, 0)}")["Messages"]
        except urllib.error.HTTPError as e:
            assert e.code == 404, e  # nothing has come yet
            return
        for row in rows:
            self.ledger.found(self.p.api(f"/api/v1/message/{row['ID']}/raw?edited=1", raw=True), [user])
            self.uids[user] = max(self.uids.get(user, 0), row["UID"])

    def penfold(self, *args):
        env = {**os.environ, "PENFOLD_URL": self.p.url("")}
        return subprocess.run([PENFOLD, *args], env=env, capture_output=True, text=True, timeout=30)

    def story(self, mail):
        return self.p.api(f"/api/v1/admin/explain/{mail}")

    def replaced(self, role, before):
        now = self.p.roles().get(role, [])
        return len(now) == len(before) and not set(now) & set(before) and self.p.ready()

    def restart(self, before):
        """The supervisor is dead."""
        self.p.process.wait(10)
        self.p.process.stdout.close()
        wait_until(lambda: not any(alive(pid) for pids in before.values() for pid in pids), 60, "the end of the roles")
        self.p.start(60)

    def settle(self):
        """A clean stop and start, and all is told, or there is something wrong."""
        self.p.stop(limit=60)
        done = subprocess.run([PENFOLD, "store", "check", "--quiet", "--data", str(self.p.data)], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        self.p.start(60)
        end, wrong = time.monotonic() + 60, ["not looked"]
        while wrong and time.monotonic() < end:
            self.look()
            wrong = self.ledger.problems(self.story)
        assert not wrong, f"{len(wrong)} problems; data in {self.p.data}, log {self.p.log}\n" + "\n".join(wrong[:20])

    def close(self):
        if self.p.process.poll() is None:
            self.p.process.send_signal(signal.SIGCONT)
            self.p.stop(limit=60)
        self.smart.close()
        self.lmtp.close()
        self.names.stop()
        shutil.rmtree(self.open)


class Sender(threading.Thread):
    """Sends until told to stop; `login`: by submission, with what only users may ask for."""

    def __init__(self, world, seed, login):
        super().__init__(daemon=True)
        self.world, self.ledger, self.seed, self.login = world, world.ledger, seed, login
        self.rng, self.stop, self.count, self.refused = random.Random(seed), threading.Event(), 0, []

    def run(self):
        while not self.stop.is_set():
            try:
                self.session()
            except (OSError, ConnectionError):
                self.stop.wait(0.05)

    def greeted(self):
        """A connection that was answered; `refused` keeps what became of others."""
        try:
            if not self.login:
                return Smtp(self.world.p.smtp)
            return Smtp(self.world.submission, tls=ssl._create_unverified_context())
        except OSError as e:
            self.refused.append(repr(e))
            raise

    def connect(self):
        s = self.greeted()
        if not self.login:
            return s
        s.cmd("EHLO soak.example")
        s.cmd("AUTH PLAIN " + base64.b64encode(b"\0u1@here.test\0secret").decode())
        return s

    def session(self):
        s = self.connect()
        try:
            s.cmd("EHLO soak.example")
            for _ in range(self.rng.randint(1, 20)):
                if self.stop.is_set() or not self.send(s):
                    break
                self.stop.wait(self.rng.uniform(0, 0.1))
        finally:
            s.close()

    def recipients(self):
        """{address: NOTIFY}, the words of MAIL, and whether it is to be parked."""
        rng = self.rng
        if self.login and rng.random() < 0.2:
            return {f"later{rng.randrange(9)}@smart.test": ""}, " BY=3;R", False
        if self.login and rng.random() < 0.3:
            return {f"ok{rng.randrange(9)}@smart.test": ""}, " HOLDFOR=100000", True
        kinds = ["u1@here", "u2@here", "u3@here", "ok%d@smart", "ok%d@smart", "ok%d@mx", "l%d@lmtp", "no%d@lmtp", "p%d@pipe", "no%d@smart", "spam%d@out"]
        chosen = [(k % rng.randrange(9) if "%" in k else k) + ".test" for k in rng.sample(kinds, rng.choice([1, 1, 2, 3, 5]))]
        return {a: rng.choice(["", "", "", "NEVER", "SUCCESS", "SUCCESS,FAILURE"]) for a in chosen}, "", False

    def send(self, s):
        self.count += 1
        rcpts, words, parked = self.recipients()
        sender = "u1@here.test" if self.login else self.rng.choice(["u2@here.test", "u3@here.test", "x@out.test", ""])
        mail = Mail(f"t{self.seed}-{self.count}", sender, {})
        mail.parked = parked
        if s.cmd(f"MAIL FROM:<{sender}> ENVID={mail.token}{words}")[:1] != "2":
            return False
        for rcpt, notify in rcpts.items():
            if s.cmd(f"RCPT TO:<{rcpt}>" + (f" NOTIFY={notify}" if notify else ""))[:1] == "2":
                mail.rcpts[rcpt] = notify
        if not mail.rcpts or s.cmd("DATA")[:3] != "354":
            return False
        self.ledger.begin(mail)
        s.send(message(mail.token, self.rng.choice([50, 500, 3000, 20000, 20000, 200_000]), self.rng) + b".\r\n")
        mail.answer = s.reply()
        if mail.answer.startswith("250"):
            mail.id = mail.answer.rsplit(" ", 1)[1]
        return True


class Operator(threading.Thread):
    """Does things to parked mails by `penfold queue`, each until it is told that it is done."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.rng, self.stop, self.acts = world, random.Random(5), threading.Event(), 0

    def run(self):
        while not self.stop.wait(0.05):
            free = [m for m in list(self.world.ledger.mails.values()) if m.parked and m.id and not m.acts]
            if len(free) > 3:
                self.work_on(free[0])

    def work_on(self, mail):
        for act in self.rng.choice([["hold"], ["hold", "release"], ["retry"], ["delete"], ["bounce"], ["hold", "bounce"], ["hold", "delete"]]):
            while self.world.penfold("queue", act, mail.id).returncode:
                time.sleep(0.05)
            mail.acts.append(act)
            self.acts += 1

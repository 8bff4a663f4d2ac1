"""A mail server whose processes are killed at every step: nothing accepted is lost, nothing is doubled unmarked.

Senders, an operator, a smarthost, an LMTP server, a command and mailboxes are at work while a role dies: at a chosen step of a
delivery, which the other server sees, or at any time.  The books (ledger.py) are balanced when all is quiet again.
"""
import base64
import os
import random
import signal
import ssl
import subprocess
import threading
import time
import urllib.error

import pytest

import dns
from conftest import PENFOLD, SOAK, Penfold, Smtp, free_port, wait_until
from ledger import Ledger, Mail, message
from receiver import Receiver

pytestmark = dns.needs_nsd
BATCHES, USERS = 5 if SOAK else 1, ["u1", "u2", "u3", "postmaster"]
COMMAND = """#!/bin/sh
f=$(mktemp "%s/.XXXXXX") || exit 75
{ printf '%%s\\n' "$RECIPIENT"; cat; } >"$f" && mv "$f" "%s/${f##*/.}"
"""


class Plan:
    """When another server sees `step`: the roles of `stop` stop, `after` seconds later those of `kill` die.
    after 0: before the server goes on with that step.  step "": at any time."""

    def __init__(self, name, step, kill, stop=(), after=0.0):
        self.name, self.step, self.kill, self.stop, self.after = name, step, kill, stop, after


EVERYTHING = ("supervisor", "store", "delivery", "smtpd", "resolver", "keyd", "httpd", "content")
PLANS = [  # a role that dies often is started later and later: they take turns
    Plan("store, the intent is not written", "DATA", ["store"], ["store"], 0.1),
    Plan("delivery, at DATA", "DATA", ["delivery"]),
    Plan("store, the intent is written, leave is not read", "DATA", ["store"], ["delivery"], 0.1),
    Plan("smtpd, a report is being built", "refused", ["smtpd"], ["smtpd"], 0.1),
    Plan("delivery, its final dot is not answered", "dot", ["delivery"]),
    Plan("store, the final dot is not answered", "dot", ["store"]),
    Plan("delivery, the answer is on its way", "answered", ["delivery"]),
    Plan("store, the result is not written", "dot", ["store"], ["store"], 0.1),
    Plan("smtpd, a report may be there", "refused", ["smtpd"], [], 0.01),
    Plan("delivery, it has leave and has not read it", "DATA", ["delivery"], ["delivery"], 0.1),
    Plan("supervisor, at DATA", "DATA", ["supervisor"]),
    Plan("store, the result may be written", "answered", ["store"], [], 0.002),
    Plan("delivery, during RSET", "RSET", ["delivery"]),
    Plan("store, a report is being built", "refused", ["store"], ["smtpd"], 0.1),
    Plan("everything, the final dot is not answered", "dot", EVERYTHING),
    Plan("delivery, in the middle of a body", "DATA", ["delivery"], [], 0.01),
    Plan("store, a report may be there", "refused", ["store"], [], 0.01),
]
AT_RANDOM = [Plan(f"{role}, at any time", "", [role]) for role in ("store", "delivery", "smtpd", "resolver", "keyd", "supervisor")]
AT_RANDOM.append(Plan("everything, at any time", "", EVERYTHING))


def kill_all(pids, sig=signal.SIGKILL):
    for pid in pids:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass


def alive(pid):
    try:
        return "Z" not in open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1][:3]
    except OSError:
        return False


class Trap:
    """Springs once, in the thread of the server that has come to the plan's step."""

    def __init__(self, world):
        self.world, self.plan, self.lock, self.sprung = world, None, threading.Lock(), threading.Event()

    def set(self, plan):
        with self.lock:
            self.plan = plan
            self.sprung.clear()

    def take(self, step):
        with self.lock:
            plan = self.plan
            if not plan or plan.step != step:
                return
            self.plan = None
        roles = self.world.p.roles()
        for role in plan.stop:
            kill_all(roles.get(role, []), signal.SIGSTOP)
        if not plan.after:
            self.world.strike(plan, roles)
        self.sprung.set()


class World:
    """The server, those it delivers to, and the books."""

    def __init__(self, path):
        self.path, self.ledger, self.trap, self.seen_mails, self.uids = path, Ledger(), Trap(self), {}, {}
        self.smart, self.lmtp = (Receiver(replies=self.replies(), lmtp=lmtp) for lmtp in (False, True))
        self.names = dns.Server(path, {"mx.test": "@ MX 10 mx\nmx A 127.0.0.1\n"}, ttl=1)
        self.submission, self.got = free_port(), path / "got"
        self.got.mkdir(mode=0o777)
        self.got.chmod(0o777)
        script = path / "command"
        script.write_text(COMMAND % (self.got, self.got))
        script.chmod(0o755)
        self.make_certificate()
        self.p = Penfold(path / "data", ["-c", str(path / "penfold.conf")], command="serve", ports=False)
        (path / "penfold.conf").write_text(self.config())
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
                f"listen submission {{\n  address 127.0.0.1:{self.submission}\n  policy submission\n  tls implicit\n  auth required\n}}\n"
                f"listen web {{\n  protocol http\n  address 127.0.0.1:{self.p.http}\n  access open\n}}\ndomain here.test {{\n}}\n"
                f"site mx {{\n  match mx.test\n  port {self.smart.port}\n}}\nroute home {{\n  to local\n  action mailbox\n}}\n"
                + route.format("smart", "smarthost", f"host 127.0.0.1:{self.smart.port}")
                + route.format("out", "smarthost", f"host 127.0.0.1:{self.smart.port}")
                + route.format("lmtp", "lmtp", f"host 127.0.0.1:{self.lmtp.port}")
                + route.format("pipe", "pipe", f"command {self.path}/command\n  run_as nobody"))

    # ---- the other servers ----

    def replies(self):
        def at(step):
            return lambda session, line: self.trap.take(step)

        def rcpt(session, line):
            if b"<no" in line:
                session.say(b"550 5.1.1 nobody here\r\n")
                self.trap.take("refused")
                return b""
            return b"451 4.7.1 later\r\n" if b"<later" in line else None

        def dot(session, line):
            mail = session.mail
            spam = any(b"<spam" in to for to in mail["to"])
            mail["taken"] = bool(mail["to"]) and not spam
            self.trap.take("dot")
            session.say((b"554 5.7.1 spam\r\n" if spam else b"250 2.0.0 taken\r\n") * (len(mail["to"]) if session.server.lmtp else 1))
            self.trap.take("refused" if spam else "answered")
            return b""
        def data(session, line):
            self.trap.take("DATA")
            return None if session.mail and session.mail["to"] else b"554 5.5.1 no valid recipients\r\n"
        return {"RCPT": rcpt, "DATA": data, "RSET": at("RSET"), ".": dot}

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

    # ---- crashes ----

    def strike(self, plan, roles):
        pids = [pid for role in plan.kill for pid in roles.get(role, [])]
        kill_all(pids + ([self.p.process.pid] if "supervisor" in plan.kill else []))
        kill_all([pid for role in plan.stop for pid in roles.get(role, []) if pid not in pids], signal.SIGCONT)

    def crash(self, plan, rng):
        """Whether the plan came true."""
        before = self.p.roles()
        self.trap.set(plan)
        if plan.step:
            sprung = self.trap.sprung.wait(20)
            self.trap.set(None)
            time.sleep(plan.after)
        else:
            sprung = True
            time.sleep(rng.uniform(0.1, 0.6))  # at any time: nothing is waited for
        if plan.after or not plan.step or not sprung:
            self.strike(plan, before)
        if "supervisor" in plan.kill:
            self.p.process.wait(10)
            self.p.process.stdout.close()
            wait_until(lambda: not any(alive(pid) for pids in before.values() for pid in pids), 60, "the end of the roles")
            self.p.start(60)
            return sprung
        for role in plan.kill:
            wait_until(lambda: self.replaced(role, before.get(role, [])), 60, f"a new {role}")
        return sprung

    def replaced(self, role, before):
        now = self.p.roles().get(role, [])
        return len(now) == len(before) and not set(now) & set(before) and self.p.ready()

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


class Sender(threading.Thread):
    """Sends until told to stop; `login`: by submission, with what only users may ask for."""

    def __init__(self, world, seed, login):
        super().__init__(daemon=True)
        self.world, self.ledger, self.seed, self.login = world, world.ledger, seed, login
        self.rng, self.stop, self.count = random.Random(seed), threading.Event(), 0

    def run(self):
        while not self.stop.is_set():
            try:
                self.session()
            except (OSError, ConnectionError):
                self.stop.wait(0.05)

    def connect(self):
        if not self.login:
            return Smtp(self.world.p.smtp)
        s = Smtp(self.world.submission, tls=ssl._create_unverified_context())
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


def batch(world, number, plans, rng):
    workers = [Sender(world, number * 10 + i, login=i % 2 == 1) for i in range(4)] + [Operator(world)]
    for w in workers:
        w.start()
    missed = []
    for plan in plans:
        start = time.monotonic()
        if not world.crash(plan, rng):
            missed.append(plan.name)
        print(f"{time.monotonic() - start:5.1f} s  {plan.name}", flush=True)
    for w in workers:
        w.stop.set()
    for w in workers:
        w.join(60)
        assert not w.is_alive(), "a sender hangs"
    accepted = sum(m.answer.startswith("250") for m in world.ledger.mails.values())
    unread = sum(not m.answer for m in world.ledger.mails.values())
    world.settle()
    for mail in set(world.ledger.doubled):
        assert " unknown" in world.penfold("explain", mail).stdout, mail
    assert accepted > 10 * len(plans) and workers[-1].acts > 0
    print(f"{accepted} accepted, {unread} unanswered, {workers[-1].acts} acts, {world.ledger.seen}", flush=True)
    assert not missed, missed
    world.ledger.forget()


def test_nothing_is_lost_and_nothing_doubled(tmp_path):
    for folder in [tmp_path, *list(tmp_path.parents)[:2]]:
        os.chmod(folder, 0o755)  # the command runs as another user
    rng = random.Random()
    world = World(tmp_path)
    try:
        for number in range(BATCHES):
            chosen = PLANS if not SOAK else rng.sample(PLANS, len(PLANS))
            batch(world, number, chosen + rng.sample(AT_RANDOM, len(AT_RANDOM) if SOAK else 2), rng)
    finally:
        world.close()


BEGUN = """#!/bin/sh
f=$(mktemp "%s/.XXXXXX") && touch "%s/begun" && sleep 0.3 && cat >"$f" && mv "$f" "%s/${f##*/.}"
"""


@pytest.mark.parametrize("victim", ["delivery", "store"])
def test_a_command_gets_no_half_a_message(tmp_path, victim):
    """Its input ends when the message does, and not when those who feed it die."""
    for folder in [tmp_path, *list(tmp_path.parents)[:2]]:
        os.chmod(folder, 0o755)
    world = World(tmp_path)
    begun = world.got / "begun"
    try:
        (tmp_path / "command").write_text(BEGUN.replace("%s", str(world.got)))
        before, supervisor = world.p.roles(), world.p.process.pid
        s = Smtp(world.p.smtp)
        s.cmd("EHLO soak.example")
        mail = s.message(message("half", 3_000_000, random.Random(1)), "u1@here.test", ["p1@pipe.test"]).rsplit(" ", 1)[1]
        s.close()
        wait_until(begun.exists, what="the command")
        os.kill(supervisor, signal.SIGSTOP)  # it would end the command at once
        kill_all(before[victim])
        time.sleep(0.5)  # nothing is to happen
        assert [f.name for f in world.got.iterdir() if f.name[0] != "."] == ["begun"]
        os.kill(supervisor, signal.SIGCONT)
        wait_until(lambda: world.replaced(victim, before[victim]), 60, f"a new {victim}")
        wait_until(lambda: world.story(mail)["Queue"][0]["State"] == "delivered", 30, "the delivery")
        begun.unlink()
        assert [f.stat().st_size > 3_000_000 for f in world.got.iterdir() if f.name[0] != "."] == [True]
        assert [a["Outcome"] for a in world.story(mail)["Attempts"]] == ["unknown", "delivered"]
    finally:
        world.close()

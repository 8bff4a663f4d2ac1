"""What was answered 250 survives kill -9 of any role, once and byte for byte."""
import hashlib
import os
import random
import re
import signal
import subprocess
import threading
import time


from conftest import PENFOLD, SOAK, Penfold, Smtp, wait_until

ROUNDS = 100 if SOAK else 5
SENDERS = 6


def body_of(rng, number):
    """Mostly small, some beyond the size from which bodies have files of their own."""
    size = rng.choice([50, 700, 5000, 20000, 20000, 200000, 1_500_000 if number % 7 == 0 else 9000])
    lines = [b"Subject: %d\r\n\r\n" % number]
    while size > 0:
        line = rng.randbytes(38).hex().encode() + b"\r\n"
        lines.append(line)
        size -= len(line)
    return b"".join(lines)


class Sender(threading.Thread):
    """Sends until told to stop; keeps id and hash of everything that was answered 250."""

    def __init__(self, port, seed):
        super().__init__(daemon=True)
        self.port, self.rng = port, random.Random(seed)
        self.stop, self.accepted, self.count = threading.Event(), {}, 0

    def run(self):
        while not self.stop.is_set():
            try:
                self.session()
            except (OSError, ConnectionError, AssertionError):
                self.stop.wait(0.02)

    def session(self):
        s = Smtp(self.port)
        try:
            s.sock.settimeout(15)
            s.cmd("EHLO crash.example")
            for _ in range(self.rng.randint(1, 20)):
                if self.stop.is_set():
                    break
                self.count += 1
                body = body_of(self.rng, self.count)
                reply = s.message(body)
                if not reply.startswith("250"):
                    continue
                found = re.search(r"\b[0-9A-Za-z]{22}\b", reply)
                assert found, reply
                self.accepted[found.group()] = hashlib.sha256(body).hexdigest()
        finally:
            s.close()


def all_ids(p):
    ids, start = [], 0
    while True:
        page = p.messages(limit=500, start=start)["messages"]
        ids += [m["ID"] for m in page]
        start += len(page)
        if not page:
            return ids


def verify(p, accepted, fetch):
    ids = all_ids(p)
    assert len(ids) == len(set(ids)), "a message is there twice"
    missing = set(accepted) - set(ids)
    assert not missing, f"{len(missing)} of {len(accepted)} acknowledged messages are lost"
    for message_id in fetch:
        assert hashlib.sha256(p.raw(message_id)).hexdigest() == accepted[message_id], f"{message_id} has changed"


def check_store(data):
    done = subprocess.run([PENFOLD, "store", "check", "--quiet", "--data", str(data)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def kill_role(p, role):
    pids = p.roles().get(role, [])
    if not pids:
        return
    victim = random.choice(pids)
    os.kill(victim, signal.SIGKILL)

    def replaced():
        now = p.roles().get(role, [])
        return now and victim not in now and p.ready()

    wait_until(replaced, 60, f"a new {role}")


def crash(p, role):
    """Returns the instance that runs afterwards."""
    if role != "supervisor":
        kill_role(p, role)
        return p
    p.kill()
    again = Penfold(p.data, p.args)
    again.args = p.args
    return again.start(60)


def round_of(p, number, accepted):
    senders = [Sender(p.smtp, number * 100 + i) for i in range(SENDERS)]
    for s in senders:
        s.start()
    time.sleep(random.uniform(0.1, 0.8))  # the moment of the crash: nothing is waited for
    role = ["store", "smtpd", "supervisor"][number % 3]
    p = crash(p, role)
    for s in senders:
        s.stop.set()
    for s in senders:
        s.join(60)
        assert not s.is_alive(), "a sender hangs"
    fresh = {}
    for s in senders:
        fresh.update(s.accepted)
    accepted.update(fresh)
    verify(p, accepted, fresh)
    return p


def test_nothing_acknowledged_is_lost(tmp_path):
    config = tmp_path / "small.conf"
    config.write_text("journal_segment_size 8MiB\n")  # so that the crashes meet many beginnings of segments
    args = ("--config", str(config))
    p = Penfold(tmp_path / "data", args)
    p.args = args
    p.start()
    accepted = {}
    try:
        for number in range(ROUNDS):
            p = round_of(p, number, accepted)
            if number % 20 == 4:
                p.stop()
                check_store(p.data)
                p.start()
        assert len(accepted) > 10 * ROUNDS
        verify(p, accepted, list(accepted) if not SOAK else random.sample(list(accepted), 2000))
        p.stop()
        check_store(p.data)
    finally:
        if p.process and p.process.poll() is None:
            p.stop()

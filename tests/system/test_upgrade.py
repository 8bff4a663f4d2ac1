"""A new version takes over while mail comes and goes: nobody is refused, nothing is lost, nothing is doubled."""
import os
import shutil
import signal
import socket
import threading
import time

import dns
from conftest import BUILD, SOAK, Smtp, wait_until
from world import Operator, Sender, World

pytestmark = dns.needs_nsd


ROLES = sorted(set(os.listdir(os.path.join(BUILD, "libexec", "penfold"))) - {"supervisor"})


def roles_of(world):
    """Not the commands of a pipe route, which come and go."""
    return {role: pids for role, pids in world.p.roles().items() if role in ROLES}


def install(path):
    """As `make install` does it: each file is a new one under the old name."""
    for name in ["penfold"] + [f"libexec/penfold/{role}" for role in ROLES + ["supervisor"]]:
        to = path / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(os.path.join(BUILD, name), f"{to}.new")
        os.rename(f"{to}.new", to)


def upgrade(world, path):
    before = roles_of(world)
    install(path)
    world.p.process.send_signal(signal.SIGUSR2)
    for role, pids in before.items():
        wait_until(lambda: world.replaced(role, pids), 60, f"a new {role}")
    for pid in [world.p.process.pid] + [pid for pids in roles_of(world).values() for pid in pids]:
        assert not os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")


def test_a_new_version_under_load(tmp_path):
    install(tmp_path / "programs")
    world = World(tmp_path, tmp_path / "programs" / "penfold")
    supervisor, inode = world.p.process.pid, os.stat(tmp_path / "submit").st_ino
    workers = [Sender(world, i, login=i % 2 == 1) for i in range(4)] + [Operator(world)]
    try:
        for w in workers:
            w.start()
        for _ in range(10 if SOAK else 3):
            sent = sum(w.count for w in workers[:4])
            wait_until(lambda: sum(w.count for w in workers[:4]) > sent + 50, 30, "some mail")
            upgrade(world, tmp_path / "programs")
        for w in workers:
            w.stop.set()
        for w in workers:
            w.join(60)
        assert [w.refused for w in workers[:4]] == [[]] * 4
        assert [m.token for m in world.ledger.mails.values() if not m.answer] == []  # each message begun was ended
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(tmp_path / "submit"))
            assert s.recv(100).startswith(b"220 ")
        assert os.stat(tmp_path / "submit").st_ino == inode and world.p.process.pid == supervisor
        world.settle()
        assert world.ledger.seen["unknown attempts"] == 0 and not world.ledger.doubled
    finally:
        world.close()


def signal_all(world, role, sig):
    for pid in world.p.role(role):
        os.kill(pid, sig)


def test_a_report_may_be_the_last_to_end(tmp_path):
    """The last one that is waited for is no client's session: the process goes when the store has answered it."""
    world, refused = World(tmp_path, more="stop_timeout 1h\n"), threading.Event()

    def bounce():
        s = Smtp(world.p.smtp)
        s.cmd("EHLO upgrade.example")
        assert s.message(b"Subject: x\r\n\r\nx\r\n", "u1@here.test", ["no1@smart.test"]).startswith("250")
        s.close()

    def at(step):
        if step == "refused":
            signal_all(world, "smtpd", signal.SIGSTOP)
            refused.set()
    try:
        bounce()  # what the directory says is known from now on
        wait_until(lambda: "report_sent" in open(world.p.log).read(), 20, "a first report")
        world.at = at
        bounce()
        assert refused.wait(20)
        time.sleep(0.3)  # none of these can be seen: the job is on its way to smtpd,
        signal_all(world, "store", signal.SIGSTOP)
        signal_all(world, "smtpd", signal.SIGCONT)
        time.sleep(0.3)  # the report on its way to the store,
        world.p.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)  # and smtpd knows that it is to end
        signal_all(world, "store", signal.SIGCONT)
        assert world.p.process.wait(20) == 0
        assert open(world.p.log).read().count("report_sent") == 2
    finally:
        if world.p.process.poll() is None:
            world.p.process.send_signal(signal.SIGTERM)  # the second one ends it at once
        world.close()

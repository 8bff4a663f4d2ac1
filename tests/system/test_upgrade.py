"""A new version takes over while mail comes and goes: nobody is refused, nothing is lost, nothing is doubled."""
import os
import shutil
import signal
import socket

import dns
from conftest import BUILD, SOAK, wait_until
from world import Operator, Sender, World

pytestmark = dns.needs_nsd


def install(path):
    """As `make install` does it: each file is a new one under the old name."""
    for name in ["penfold"] + [f"libexec/penfold/{role}" for role in os.listdir(os.path.join(BUILD, "libexec", "penfold"))]:
        to = path / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(os.path.join(BUILD, name), f"{to}.new")
        os.rename(f"{to}.new", to)


def upgrade(world, path):
    before = world.p.roles()
    install(path)
    world.p.process.send_signal(signal.SIGUSR2)
    for role, pids in before.items():
        wait_until(lambda: world.replaced(role, pids), 60, f"a new {role}")
    for pid in [world.p.process.pid] + [pid for pids in world.p.roles().values() for pid in pids]:
        assert not os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")


def test_a_new_version_under_load(tmp_path):
    for folder in [tmp_path, *list(tmp_path.parents)[:2]]:
        os.chmod(folder, 0o755)
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

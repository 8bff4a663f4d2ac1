"""The sendmail spool: anybody may leave a file there, so nothing in it is believed but what the system says of its owner."""
import os
import re
import signal
import socket
import subprocess

import pytest

import dns
from conftest import PENFOLD, wait_until
from world import World

pytestmark = [dns.needs_nsd, pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of others")]
STRANGER = 65534
MAIL = "EHLO x\r\nMAIL FROM:<{}>\r\nRCPT TO:<u1@here.test>\r\nDATA\r\nSubject: {}\r\n\r\nx\r\n.\r\nQUIT\r\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    path = tmp_path_factory.mktemp("spool")
    w = World(path, more="spool {open}/spool\n")
    w.spool, w.outside = w.open / "spool", w.open / "outside"
    w.outside.mkdir()
    yield w
    w.close()


def subjects(world):
    try:
        rows = world.p.api("/api/v1/admin/mailboxes/u1@here.test/INBOX?limit=1000")["Messages"]
    except OSError:
        return []
    return [re.search(rb"^Subject: (\S+)", world.p.raw(row["ID"]), re.M).group(1).decode() for row in rows]


def write(path, text, uid=STRANGER, mode=0o600):
    path.write_text(text)
    os.chown(path, uid, uid)
    os.chmod(path, mode)
    return path


def leave(world, name, text, **more):
    os.rename(write(world.outside / "file", text, **more), world.spool / name)


def comes(world, subject):
    """An honest file is taken, whatever lies beside it."""
    leave(world, f"{subject}.smtp", MAIL.format("", subject))
    wait_until(lambda: subject in subjects(world), 10, subject)
    wait_until(lambda: not (world.spool / f"{subject}.smtp").exists(), 10, "its end")


def symlink(world, name):
    os.symlink(write(world.outside / f"of-{name}", MAIL.format("", "evil"), uid=0), world.spool / name)


def hard_link(world, name):
    os.link(write(world.outside / f"of-{name}", MAIL.format("", "evil"), uid=0), world.spool / name)


def fifo(world, name):
    os.mkfifo(world.spool / name)


def directory(world, name):
    (world.spool / name).mkdir()


def unix_socket(world, name):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(world.spool / name))


def writable_by_others(world, name):
    leave(world, name, MAIL.format("", "evil"), mode=0o622)


def half_written(world, name):
    leave(world, name, MAIL.format("", "evil").split("\r\n.\r\n")[0])


def empty(world, name):
    leave(world, name, "")


def no_words(world, name):
    leave(world, name, "\0\1\2" * 100_000)


def forged(world, name):
    leave(world, name, MAIL.format("u2@here.test", "evil"))


def no_user_of_ours(world, name):
    """A uid that nobody has."""
    leave(world, name, MAIL.format("u2@here.test", "evil"), uid=12345)


def huge(world, name):
    """The most bytes for the least effort: a hole."""
    path = write(world.outside / "file", "EHLO x\r\n")
    os.truncate(path, 1 << 42)
    os.rename(path, world.spool / name)


def a_line_without_end(world, name):
    leave(world, name, "EHLO x\r\nMAIL FROM:<" + "x" * 30_000_000)


@pytest.mark.parametrize("how", [symlink, hard_link, fifo, directory, unix_socket, writable_by_others, half_written, empty, no_words, forged,
                                 no_user_of_ours, huge, a_line_without_end], ids=lambda f: f.__name__)
def test_what_strangers_leave(world, how):
    """It is put aside, under a name that is not looked at again, and nobody waits for it."""
    name = how.__name__.replace("_", "-")
    how(world, f"{name}.smtp")
    comes(world, f"after-{name}")
    wait_until(lambda: not os.path.lexists(world.spool / f"{name}.smtp"), 20, "its end")
    assert os.path.lexists(world.spool / f"{name}.smtp.bad")
    assert "evil" not in subjects(world)


@pytest.mark.parametrize("name", ["a\nb.smtp", ".hidden.smtp", "a" * 100 + ".smtp", "a b.smtp", "ü.smtp", "a.smtp.tmp", "-.SMTP", "a\x1b[2J.smtp"])
def test_names_that_are_none(world, name):
    """Not of the sendmail command: another program may still write it, and a log line must not be made of it."""
    leave(world, name, MAIL.format("", "evil"))
    comes(world, f"beside-{abs(hash(name))}")
    assert (world.spool / name).exists() and "evil" not in subjects(world)
    assert name not in open(world.p.log).read()


def test_a_written_file_is_taken_once_it_has_its_name(world):
    """As the sendmail command of another user leaves it."""
    done = subprocess.run([PENFOLD, "sendmail", "-i", "-f", "<>", "u1@here.test"], input=b"Subject: honest\n\nx\n", user=STRANGER, group=STRANGER,
                          env={"PENFOLD_SPOOL": str(world.spool), "PENFOLD_SUBMIT": "/nowhere", "PENFOLD_CONFIG": "/nowhere", "PATH": "/bin"})
    assert done.returncode == 0
    wait_until(lambda: "honest" in subjects(world), 10, "the mail")


def test_no_file_is_lost_when_processes_die(world):
    """A file goes when its message is accepted, and not before; one that was just being told of may come once more."""
    names = {f"k{n}" for n in range(80)}
    for n, name in enumerate(sorted(names)):
        leave(world, f"{name}.smtp", MAIL.format("", name))
        roles = world.p.roles()
        if n % 20 == 5:
            for pid in roles.get("smtpd", []) + roles.get("store", []) * (n % 40 == 5):
                os.kill(pid, signal.SIGKILL)
        elif n == 50:
            world.p.process.kill()
            world.restart(roles)
    wait_until(lambda: names <= set(subjects(world)), 60, "all of them")
    wait_until(lambda: not list(world.spool.glob("k*.smtp")), 60, "the end of the files")
    assert not list(world.spool.glob("k*.bad"))
    found = subjects(world)
    assert max(found.count(name) for name in names) <= 2

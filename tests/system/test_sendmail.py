"""penfold sendmail: what other programs call as sendmail, mailq and newaliases.

The server is a sandbox with a Unix socket, or nobody: then the message must be in the spool, whole and on stable storage,
before the command says 0.
"""
import os
import re
import socket
import stat
import subprocess
import threading

import pytest

from conftest import PENFOLD, wait_until

OK, USAGE, DATAERR, UNAVAILABLE, TEMPFAIL = 0, 64, 65, 69, 75


@pytest.fixture
def place(tmp_path):
    """The socket and the spool of a host without a server."""
    spool = tmp_path / "spool"
    spool.mkdir()
    spool.chmod(0o1733)
    return {"PENFOLD_SUBMIT": str(tmp_path / "submit"), "PENFOLD_SPOOL": str(spool), "PENFOLD_CONFIG": str(tmp_path / "none"),
            "spool": spool, "dir": tmp_path}


def run(place, *args, data=b"", name="sendmail", env=None):
    link = place["dir"] / name
    if not link.exists():
        link.symlink_to(PENFOLD)
    settings = {k: v for k, v in place.items() if k.startswith("PENFOLD_")}
    return subprocess.run([link, *args], input=data, capture_output=True, env={**os.environ, **settings, **(env or {})}, timeout=60)


def spooled(place):
    return sorted(place["spool"].iterdir())


def commands(path):
    text = path.read_bytes()
    assert b"\n" not in text.replace(b"\r\n", b"")
    head, body = text.split(b"DATA\r\n", 1)
    assert body.endswith(b"\r\n.\r\nQUIT\r\n")
    return head.decode().split("\r\n")[:-1], body[:-len(b".\r\nQUIT\r\n")]


@pytest.fixture
def server(penfold, place):
    return penfold("--smtp", "unix:" + place["PENFOLD_SUBMIT"])


def message(server):
    items = wait_until(lambda: server.api("/api/v1/messages")["messages"], what="the message")
    assert len(items) == 1
    return items[0], server.api("/api/v1/message/" + items[0]["ID"] + "/raw", raw=True)


def test_to_the_server(server, place):
    r = run(place, "-i", "-f", "ann@example.org", "-F", "Ann \u00dcx", "bob@example.net", data=b"Subject: hi\n\none\n.\ntwo\n")
    assert (r.returncode, r.stderr) == (OK, b"")
    item, raw = message(server)
    assert raw.startswith(b"From: =?UTF-8?") and b" <ann@example.org>\r\nSubject: hi\r\n\r\none\r\n.\r\ntwo\r\n" in raw
    assert not spooled(place)


def test_recipients_of_the_header(server, place):
    data = b"To: Bob <bob@example.net>,\n carl@example.net (Carl)\nCc: g: dora@example.net;\nBcc: eve@example.net, BOB@example.net\n\nx\n"
    assert run(place, "-ti", data=data).returncode == OK
    item, _ = message(server)
    full = server.api("/api/v1/message/" + item["ID"])
    text = str(full)
    for name in ("bob", "carl", "dora", "eve"):
        assert name + "@example.net" in text


def test_a_dot_ends_it_without_i(server, place):
    assert run(place, "bob@example.net", data=b"A: b\n\none\n.\ntwo\n").returncode == OK
    _, raw = message(server)
    assert raw.endswith(b"A: b\r\n\r\none\r\n")


def test_spool_while_the_server_is_down(place):
    r = run(place, "-oi", "-N", "never", "-R", "hdrs", "-V", "a+b", "-f", "<>", "bob@example.net", "carl@example.net",
            data="From junk\nSubject: hi\n\n.dot\r\n\u00fc\rlast".encode())
    assert (r.returncode, r.stderr) == (OK, b"")
    [path] = spooled(place)
    assert re.fullmatch(r"[0-9A-Za-z]{22}\.smtp", path.name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines, body = commands(path)
    assert lines[0].startswith("EHLO ")
    assert lines[1:] == ["MAIL FROM:<> RET=hdrs ENVID=a+2Bb BODY=8BITMIME", "RCPT TO:<bob@example.net> NOTIFY=never",
                         "RCPT TO:<carl@example.net> NOTIFY=never"]
    assert body == "Subject: hi\r\n\r\n..dot\r\n\u00fc\r\nlast\r\n".encode()


def test_no_spool(place):
    r = run(place, "bob@example.net", data=b"x\n", env={"PENFOLD_SPOOL": str(place["dir"] / "missing")})
    assert r.returncode == TEMPFAIL and b"could not be left" in r.stderr


def test_a_full_disk(place):
    """The file cannot be written: nothing is left, and nobody is told that it is safe."""
    r = subprocess.run(["sh", "-c", 'ulimit -f 8; exec "$0" sendmail -i bob@example.net', PENFOLD], input=b"x" * 1000000, capture_output=True,
                       env=dict(os.environ, **{k: v for k, v in place.items() if k.startswith("PENFOLD_")}), timeout=60)
    assert r.returncode == TEMPFAIL and b"File too large" in r.stderr
    assert not spooled(place)


def test_synced_before_it_is_told(place):
    """fsync of the file, then its name, then the name's fsync (or that of all, for who may not open the directory)."""
    trace = place["dir"] / "trace"
    r = subprocess.run(["strace", "-f", "-o", trace, "-e", "trace=fsync,fdatasync,syncfs,rename,renameat,renameat2,openat", PENFOLD, "sendmail",
                        "bob@example.net"], input=b"x\n", capture_output=True,
                       env=dict(os.environ, **{k: v for k, v in place.items() if k.startswith("PENFOLD_")}), timeout=60)
    if r.returncode != OK and b"ptrace" in r.stderr:
        pytest.skip("no ptrace here")
    calls = [m for m in re.findall(r"(fsync|rename|syncfs)[a-z0-9]*\([^)]*\)\s+= 0", trace.read_text())]
    assert calls[:2] == ["fsync", "rename"] and calls[2] in ("fsync", "syncfs")


class Server(threading.Thread):
    """Says its lines, one after each command."""

    def __init__(self, path, replies):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.replies = replies
        self.start()

    def run(self):
        s, _ = self.listener.accept()
        s.settimeout(20)
        f = s.makefile("rb")
        try:
            for reply in self.replies:
                s.sendall(reply + b"\r\n")
                if reply.startswith(b"354"):
                    while f.readline() not in (b".\r\n", b""):
                        pass
                    continue
                f.readline()
        except OSError:
            pass
        s.close()


def test_refused_recipients_are_told(place):
    Server(place["PENFOLD_SUBMIT"], [b"220 x", b"250 x", b"250 ok", b"550 5.1.1 nobody", b"250 ok", b"354 go", b"250 ok", b"221 bye"])
    r = run(place, "bad@example.net", "good@example.net", data=b"x\n")
    assert r.returncode == UNAVAILABLE and b"bad@example.net: refused: 550 5.1.1 nobody" in r.stderr
    assert not spooled(place)


def test_deferred_recipients_are_spooled(place):
    Server(place["PENFOLD_SUBMIT"], [b"220 x", b"250 x", b"250 ok", b"452 4.2.2 later", b"250 ok", b"354 go", b"250 ok", b"221 bye"])
    assert run(place, "late@example.net", "good@example.net", data=b"x\n").returncode == OK
    [path] = spooled(place)
    lines, _ = commands(path)
    assert [line for line in lines if line.startswith("RCPT")] == ["RCPT TO:<late@example.net>"]


def test_a_server_that_breaks_off(place):
    Server(place["PENFOLD_SUBMIT"], [b"220 x", b"250 x", b"250 ok"])
    assert run(place, "a@example.net", data=b"x\n").returncode == OK
    assert len(spooled(place)) == 1


def test_a_server_that_refuses_us(place):
    Server(place["PENFOLD_SUBMIT"], [b"554 5.7.1 go away"])
    r = run(place, "a@example.net", data=b"x\n")
    assert r.returncode == UNAVAILABLE and b"go away" in r.stderr
    assert not spooled(place)


@pytest.mark.parametrize("args, data, status", [
    ((), b"x\n", USAGE),
    (("-t",), b"Subject: x\n\nTo: a@b\n", USAGE),
    (("a@b",), b"nul \0\n", DATAERR),
    (("-bd", "a@b"), b"", USAGE),
    (("-N", "perhaps", "a@b"), b"", USAGE),
    (("-Rsome", "a@b"), b"", USAGE),
    (("-Z", "a@b"), b"", USAGE),
    (("-f",), b"", USAGE),
    (("-f", "a\nb", "a@b"), b"", USAGE),
])
def test_mistakes(place, args, data, status):
    r = run(place, *args, data=data)
    assert r.returncode == status and r.stderr.startswith(b"sendmail: ")
    assert not spooled(place)


@pytest.mark.parametrize("args", [
    ("-B8BITMIME", "-oem", "-odb", "-m", "-n", "-v", "-L", "tag", "-h5", "-U", "-G", "-O", "A=b", "-om", "-X/dev/null", "--", "a@b"),
    ("-bm", "-i", "-e", "p", "-C", "/nowhere", "-d5.1", "a@b"),
    ("-r", "x@y", "-oi", "-x", "a@b"),
])
def test_harmless_options(place, args):
    assert run(place, *args, data=b"x\n").returncode == OK
    assert len(spooled(place)) == 1


def test_injection_by_an_address(place):
    r = run(place, "-t", data=b"To: \"a\r\nRCPT TO:<x@y>\"@b, <c@d>\n\nx\n")
    for path in spooled(place):
        lines, _ = commands(path)
        assert len([line for line in lines if line.startswith("RCPT TO:<x@y>")]) == 0
    assert r.returncode in (OK, USAGE, DATAERR)


def test_addresses_without_domain_get_ours(place):
    assert run(place, "-f", "cron", "root", data=b"x\n").returncode == OK
    [path] = spooled(place)
    lines, body = commands(path)
    host = lines[0].split()[1]
    assert lines[1:] == [f"MAIL FROM:<cron@{host}>", f"RCPT TO:<root@{host}>"]
    assert body == f"From: <cron@{host}>\r\n\r\nx\r\n".encode()


def test_speaking_smtp(server, place):
    r = run(place, "-bs", data=b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nA: b\r\n\r\nx\r\n.\r\nQUIT\r\n")
    assert r.returncode == OK and r.stdout.startswith(b"220 ") and b"\r\n354 " in r.stdout and b"\r\n221 " in r.stdout
    message(server)


def test_speaking_smtp_to_nobody(place):
    r = run(place, "-bs")
    assert r.returncode == TEMPFAIL and r.stdout.startswith(b"421 4.3.2 ")


def test_newaliases(place):
    assert run(place, name="newaliases").returncode == OK
    assert run(place, "-bi").returncode == OK


def test_as_a_subcommand(place):
    r = subprocess.run([PENFOLD, "sendmail", "--submit", place["PENFOLD_SUBMIT"], "--spool", str(place["spool"]), "a@b"], input=b"x\n",
                       capture_output=True, timeout=60)
    assert (r.returncode, r.stderr) == (OK, b"") and len(spooled(place)) == 1

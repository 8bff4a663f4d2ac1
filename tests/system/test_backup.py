"""penfold backup of a running and of a stopped store, penfold restore, and accounts that survive a lost database."""
import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading

import pytest

from conftest import PENFOLD, Penfold, Smtp, Unix, free_port, wait_until

CANTCREAT, DATAERR, NOINPUT, IOERR, TEMPFAIL = 73, 65, 66, 74, 75
BIG = b"0123456789abcdef\r\n" * 120000


def body(number, more=b""):
    return f"Subject: mail {number}\r\n\r\nthis is mail {number}\r\n".encode() + more


def run(*args, limit=120):
    """(status, stdout, stderr) of one penfold."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PENFOLD_")}
    done = subprocess.run([PENFOLD, *map(str, args)], capture_output=True, text=True, timeout=limit, env=clean)
    return done.returncode, done.stdout, done.stderr


def send(p, bodies):
    """{id: body} of what was answered with 250."""
    s, sent = Smtp(p.smtp), {}
    s.cmd("EHLO backup.example")
    for one in bodies:
        reply = s.message(one)
        assert reply.startswith("250"), reply
        sent[reply.rsplit(" ", 1)[1]] = one
    s.cmd("QUIT")
    s.close()
    return sent


def backup(p, target, *more):
    return run("backup", target, "--url", p.url(""), *more)


def told(p, event):
    return open(p.log).read().count(f" {event}: ")


def ids(p):
    return {m["ID"] for m in p.messages(limit=0)["messages"]}


def tree(path):
    """Every file below with its bytes."""
    return {os.path.relpath(os.path.join(d, f), path): open(os.path.join(d, f), "rb").read() for d, _, files in os.walk(path) for f in files}


class Sender(threading.Thread):
    """Mail without a pause, small and big."""

    def __init__(self, p):
        super().__init__()
        self.p, self.sent, self.going = p, {}, True
        self.start()

    def run(self):
        s, number = Smtp(self.p.smtp), 1000
        s.cmd("EHLO busy.example")
        while self.going:
            one = body(number, BIG if number % 100 == 0 else b"")
            self.sent[s.message(one).rsplit(" ", 1)[1]] = one
            number += 1
        s.close()

    def stop(self):
        self.going = False
        self.join()


def test_mail_keeps_coming(penfold, tmp_path):
    p = penfold()
    before = send(p, [body(i) for i in range(200)] + [body(i, BIG) for i in range(200, 205)])
    busy = Sender(p)
    try:
        wait_until(lambda: len(busy.sent) > 20, what="mail")
        before.update(busy.sent)
        status, out, err = backup(p, tmp_path / "copy", "--json")
        during = len(busy.sent)
        wait_until(lambda: len(busy.sent) > during + 20, what="more mail")
    finally:
        busy.stop()
    assert status == 0, err
    told_of = json.loads(out)
    assert told_of["Running"] is True and told_of["Files"] == len(json.load(open(tmp_path / "copy" / "backup.json"))["Files"])
    everything = {**before, **busy.sent}
    status, out, err = run("restore", tmp_path / "copy", "--data", tmp_path / "restored")
    assert status == 0 and "no faults" in out, err
    q = penfold(data=tmp_path / "restored")
    there = ids(q)
    assert set(before) <= there <= set(everything)
    for one in there:
        assert q.raw(one) == everything[one]
    more = send(q, [body("after")])
    assert ids(q) == there | set(more)
    q.stop()
    assert run("store", "check", "--data", tmp_path / "restored")[0] == 0


def test_what_was_read_and_deleted_is_so_in_the_copy(penfold, tmp_path):
    p = penfold()
    first, second, third = send(p, [body(i) for i in range(3)])
    p.api("/api/v1/messages", "DELETE", {"IDs": [first]}, raw=True)
    p.api("/api/v1/messages", "PUT", {"IDs": [second], "Read": True}, raw=True)
    assert backup(p, tmp_path / "copy")[0] == 0
    p.api("/api/v1/messages", "DELETE", {"IDs": [third]}, raw=True)
    assert run("restore", tmp_path / "copy", "--data", tmp_path / "restored")[0] == 0
    q = penfold(data=tmp_path / "restored")
    assert {m["ID"]: m["Read"] for m in q.messages()["messages"]} == {second: True, third: False}


def test_a_stopped_store(penfold, tmp_path):
    p = penfold()
    sent = send(p, [body(1), body(2, BIG)])
    p.kill()
    status, out, err = run("backup", tmp_path / "copy", "--data", p.data)
    assert status == 0 and "stopped server" in out, err
    assert run("restore", tmp_path / "copy", "--data", tmp_path / "restored")[0] == 0
    q = penfold(data=tmp_path / "restored")
    assert {one: q.raw(one) for one in ids(q)} == sent


def test_a_data_directory_that_a_server_uses_is_copied_through_it(penfold, tmp_path):
    p = penfold()
    send(p, [body(1)])
    status, out, err = backup(p, tmp_path / "copy", "--data", p.data)
    assert status == 0 and "running server" in out, err
    status, _, err = run("backup", tmp_path / "other", "--data", p.data, "--url", f"http://127.0.0.1:{free_port()}")
    assert status == 69 and "no Penfold answers" in err and not os.path.exists(tmp_path / "other")


def test_another_servers_directory_is_found_out(penfold, tmp_path):
    p, other = penfold(), penfold(data=tmp_path / "other")
    send(p, [body(1)])
    send(other, [body(2)])
    wait_until(lambda: other.messages()["total"] == 1)
    status, _, err = backup(p, tmp_path / "copy", "--data", other.data)
    assert status == DATAERR and "not the data directory of the server that answers" in err
    assert not os.path.exists(tmp_path / "copy")


def test_only_into_an_empty_directory(penfold, tmp_path):
    p = penfold()
    send(p, [body(1)])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    status, _, err = backup(p, tmp_path / "full")
    assert status == CANTCREAT and "not empty; nothing was changed" in err
    assert tree(tmp_path / "full") == {"mine": b"mine"}
    (tmp_path / "empty").mkdir()
    assert backup(p, tmp_path / "empty")[0] == 0
    status, _, err = run("restore", tmp_path / "empty", "--data", tmp_path / "full")
    assert status == CANTCREAT and "not empty; nothing was changed" in err
    assert tree(tmp_path / "full") == {"mine": b"mine"}


@pytest.fixture
def slow(penfold, tmp_path):
    """A server, and a backup of it that has been stopped in its middle."""
    p = penfold("--set", "journal_segment_size=4MiB")
    send(p, [body(i, BIG) for i in range(30)])
    command = subprocess.Popen([PENFOLD, "backup", str(tmp_path / "copy"), "--url", p.url(""), "--lease", "2"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: glob.glob(str(tmp_path / "copy" / "big" / "*")) or command.poll() is not None, what="big files")
    command.send_signal(signal.SIGSTOP)
    assert command.poll() is None and not os.path.exists(tmp_path / "copy" / "backup.json")
    yield p, command
    if command.poll() is None:
        command.kill()
    command.wait(20)
    command.stderr.close()


def test_a_killed_backup_is_let_go(slow, tmp_path):
    p, command = slow
    p.api("/api/v1/messages", "DELETE", raw=True)
    wait_until(lambda: p.messages()["total"] == 0, what="deletion")
    assert len(os.listdir(os.path.join(p.data, "big"))) == 30  # held
    command.kill()
    wait_until(lambda: told(p, "store_hold_lost"), what="the end of the hold")
    wait_until(lambda: not os.listdir(os.path.join(p.data, "big")), what="the end of the big files")
    status, _, err = run("restore", tmp_path / "copy", "--data", tmp_path / "restored")
    assert status == NOINPUT and "not finished" in err and not os.path.exists(tmp_path / "restored")
    shutil.rmtree(tmp_path / "copy")
    assert backup(p, tmp_path / "copy")[0] == 0


def test_a_backup_that_lost_its_hold_is_none(slow, tmp_path):
    p, command = slow
    wait_until(lambda: told(p, "store_hold_lost"), what="the end of the hold")
    command.send_signal(signal.SIGCONT)
    assert command.wait(20) != 0
    assert "has let go" in command.stderr.read()
    assert not os.path.exists(tmp_path / "copy")


def test_a_store_that_restarts_ends_the_backup(slow, tmp_path):
    p, command = slow
    store, = p.role("store")
    os.kill(store, signal.SIGKILL)
    wait_until(lambda: p.role("store") != [store] and p.ready(), what="another store")
    command.send_signal(signal.SIGCONT)
    assert command.wait(20) != 0
    assert not os.path.exists(tmp_path / "copy")


def test_interrupted(slow, tmp_path):
    p, command = slow
    command.send_signal(signal.SIGTERM)
    command.send_signal(signal.SIGCONT)
    assert command.wait(20) == TEMPFAIL
    assert "interrupted: there is no backup" in command.stderr.read()
    assert not os.path.exists(tmp_path / "copy")
    wait_until(lambda: told(p, "store_released"), what="the end of the hold")


def test_recycling_goes_on_behind_a_backup(penfold, tmp_path):
    """Only the segment that is written to and the one after it stay in use."""
    p = penfold("--set", "journal_segment_size=4MiB")
    send(p, [body(i, BIG[:18 * 28000]) for i in range(30)])
    assert backup(p, tmp_path / "copy")[0] == 0
    before = set(os.listdir(os.path.join(p.data, "journal")))
    p.api("/api/v1/messages", "DELETE", raw=True)
    wait_until(lambda: len(before & set(os.listdir(os.path.join(p.data, "journal")))) <= 2, what="recycling")


@pytest.fixture
def small_disk():
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")
    path = tempfile.mkdtemp()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "penfold-test", path], capture_output=True).returncode:
        os.rmdir(path)
        pytest.skip("this container may not mount")
    yield path
    subprocess.run(["umount", "-l", path], check=True)
    os.rmdir(path)


def test_a_full_disk_is_said(penfold, small_disk, tmp_path):
    p = penfold()
    send(p, [body(1, BIG)])
    status, out, err = backup(p, small_disk)
    assert status == IOERR and out == "" and "No space left on device" in err
    assert os.listdir(small_disk) == []
    wait_until(lambda: told(p, "store_released"), what="the end of the hold")
    assert backup(p, tmp_path / "copy")[0] == 0
    status, out, err = run("restore", tmp_path / "copy", "--data", small_disk)
    assert status == IOERR and out == "" and "No space left on device" in err
    assert os.listdir(small_disk) == []


@pytest.fixture
def copy(penfold, tmp_path):
    p = penfold()
    send(p, [body(1), body(2, BIG)])
    assert backup(p, tmp_path / "copy")[0] == 0
    return tmp_path / "copy"


def change(path, at=1000):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def name_outside(copy):
    listed = json.load(open(copy / "backup.json"))
    listed["Files"][1]["Name"] = "journal/../../outside"
    json.dump(listed, open(copy / "backup.json", "w"))


@pytest.mark.parametrize("harm, status, message", [
    (lambda c: change(glob.glob(str(c / "journal" / "*"))[0]), DATAERR, "is not what was written there"),
    (lambda c: change(glob.glob(str(c / "big" / "*"))[0]), DATAERR, "is not what was written there"),
    (lambda c: change(c / "penfold.db"), DATAERR, "penfold.db is not what was written there"),
    (lambda c: os.truncate(c / "penfold.db", 8192), DATAERR, "penfold.db is not what was written there"),
    (lambda c: os.unlink(glob.glob(str(c / "big" / "*"))[0]), DATAERR, "is missing in the backup"),
    (lambda c: shutil.rmtree(c / "journal"), DATAERR, "is missing in the backup"),
    (lambda c: os.truncate(c / "backup.json", 300), DATAERR, "backup.json is damaged"),
    (name_outside, DATAERR, "makes no sense"),
    (lambda c: (c / "backup.json").write_text('{"Format": 2}'), DATAERR, "made by a newer Penfold"),
    (lambda c: os.unlink(c / "backup.json"), NOINPUT, "this is no backup, or one that was not finished"),
    (shutil.rmtree, NOINPUT, "cannot be read"),
], ids=["journal", "big", "database", "short", "missing", "folder", "list", "outside", "newer", "unfinished", "nothing"])
def test_a_damaged_backup_is_refused(copy, tmp_path, harm, status, message):
    harm(copy)
    done, out, err = run("restore", copy, "--data", tmp_path / "restored")
    assert (done, out) == (status, "") and message in err
    assert not os.path.exists(tmp_path / "restored") or os.listdir(tmp_path / "restored") == []


def test_no_server_starts_on_half_of_it(copy, tmp_path):
    """The restoring is killed at several moments: a server refuses what is there, or it is all there."""
    refused = 0
    for wait_ms in (0, 5, 10, 20, 40, 80):
        data = tmp_path / f"r{wait_ms}"
        command = subprocess.Popen([PENFOLD, "restore", str(copy), "--data", str(data)], stdout=subprocess.DEVNULL)
        wait_until(lambda: os.path.exists(data / "restore.tmp") or command.poll() is not None, what="the copying")
        try:
            command.wait(wait_ms / 1000)
        except subprocess.TimeoutExpired:
            command.kill()
            command.wait(20)
        if open(data / "penfold.db", "rb").read(6) == b"SQLite":
            assert run("store", "check", "--data", data)[0] == 0
            continue
        refused += 1
        status, _, err = run("restore", copy, "--data", data)
        assert status == CANTCREAT and "not empty" in err
        p = Penfold(data)
        done = subprocess.run(p.argv, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
        assert done.returncode != 0 and "penfold.db" in done.stdout + done.stderr
    assert refused
    assert run("restore", copy, "--data", tmp_path / "last")[0] == 0


class Server(Penfold):
    """`penfold serve` whose mail for far.example waits: nothing listens where it goes."""

    def __init__(self, path, name, far):
        self.dir, self.mx = path / name, free_port()
        self.dir.mkdir()
        self.conf = self.dir / "penfold.conf"
        self.conf.write_text(f"user root\nhostname mx.a.example\ndata {self.dir}/data\nworkers 1\nretain_count 0\n"
                             f"listen mx {{\n  address 127.0.0.1:{self.mx}\n  tls none\n}}\n"
                             f"listen admin {{\n  protocol http\n  address unix:{self.dir}/admin.sock\n}}\n"
                             "domain a.example {\n}\n"
                             f"route far {{\n  to far.example\n  action lmtp\n  host 127.0.0.1:{far}\n}}\n")
        super().__init__(self.dir / "data", ["-c", str(self.conf)], command="serve", ports=False)
        self.log, self.smtp = str(self.dir / "log"), self.mx

    def api(self, path, method="GET", body=None, raw=False, headers=None):
        c = Unix(str(self.dir / "admin.sock"))
        c.request(method, path, None if body is None else json.dumps(body), headers or {})
        answer = c.getresponse()
        content = answer.read()
        c.close()
        if answer.status != 200:
            raise OSError(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content if raw else json.loads(content)

    def url(self, path):
        return f"unix:{self.dir}/admin.sock"

    def queue(self):
        return self.api("/api/v1/admin/queue")["Queue"]


@pytest.fixture
def servers(tmp_path):
    os.chmod(tmp_path, 0o755)
    running, far = [], free_port()

    def make(name):
        running.append(Server(tmp_path, name, far))
        return running[-1]

    yield make
    for s in running:
        if s.process and s.process.poll() is None:
            s.stop()


def mail_to(p, recipient, message):
    s = Smtp(p.smtp)
    s.cmd("EHLO backup.example")
    reply = s.message(message, sender="x@other.example", to=[recipient])
    s.close()
    assert reply.startswith("250"), reply
    return reply.rsplit(" ", 1)[1]


@pytest.mark.parametrize("hold", [False, True], ids=["goes on", "held"])
def test_what_waits_and_who_is_there(servers, tmp_path, hold):
    a, b = servers("a").start(), servers("b")
    a.api("/api/v1/admin/accounts/ada@a.example?how=new", "PUT", {"password": "secret"})
    letter = mail_to(a, "ada@a.example", body(1))
    waiting = {mail_to(a, f"bob{i}@far.example", body(i)) for i in range(5)}
    wait_until(lambda: all(q["Attempts"] for q in a.queue()), what="first attempts")
    assert backup(a, tmp_path / "copy")[0] == 0
    a.stop()
    status, out, err = run("restore", tmp_path / "copy", "-c", b.conf, *(["--hold"] if hold else []))
    assert status == 0 and "wait for their delivery: 5\n" in out and ("queue release" if hold else "--hold") in out, out + err
    b.start()
    assert {q["ID"] for q in b.queue()} == waiting
    assert {q["State"] for q in b.queue()} <= ({"held"} if hold else {"waiting", "active"})
    assert body(1).split(b"\r\n\r\n")[1] in b.api(f"/api/v1/message/{letter}/raw", raw=True)
    assert [e["Key"] for e in b.api("/api/v1/admin/accounts")["Entries"]] == ["ada@a.example"]
    assert len(b.api("/api/v1/admin/mailboxes/ada@a.example/INBOX")["Messages"]) == 1
    if hold:
        assert b.api("/api/v1/admin/queue/release", "POST", {})["Count"] == 5
        wait_until(lambda: {q["State"] for q in b.queue()} <= {"waiting", "active"}, what="release")


def test_accounts_survive_a_lost_database(servers):
    """Killed and without its database: the journal has the mail, and <data>/directory who it is for."""
    p = servers("a").start()
    put = lambda what, fields: p.api(f"/api/v1/admin/{what}", "PUT", fields)
    put("domains/b.example", {})
    put("accounts/ada@a.example?how=new", {"password": "secret", "name": "Ada"})
    put("accounts/ada@a.example?how=old", {"quota": "1GiB"})
    put("accounts/gone@a.example?how=new", {"password": "secret"})
    put("aliases/team@b.example", {"to": "ada@a.example"})
    p.api("/api/v1/admin/accounts/gone@a.example", "DELETE")
    letter = mail_to(p, "team@b.example", body(1))
    entries = {kind: p.api(f"/api/v1/admin/{kind}")["Entries"] for kind in ("domains", "accounts", "aliases", "tokens")}
    assert len(entries["accounts"]) == 1 and entries["accounts"][0]["HasPassword"]
    p.kill()
    for name in glob.glob(os.path.join(p.data, "penfold.db*")):
        os.unlink(name)
    p.start()
    assert {kind: p.api(f"/api/v1/admin/{kind}")["Entries"] for kind in entries} == entries
    assert told(p, "store_recalled") == 1 and told(p, "store_rebuilt") == 1
    row, = p.api("/api/v1/admin/mailboxes/ada@a.example/INBOX")["Messages"]
    assert row["ID"] == letter
    second = mail_to(p, "team@b.example", body(2))
    assert second in {row["ID"] for row in p.api("/api/v1/admin/mailboxes/ada@a.example/INBOX")["Messages"]}
    assert os.stat(os.path.join(p.data, "directory")).st_mode & 0o777 == 0o600

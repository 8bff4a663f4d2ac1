"""Folders of an account from and to Maildir and mbox: equal bytes, flags and dates there and back; what goes wrong on the way."""
import json
import mailbox
import os
import signal
import subprocess
from urllib.parse import quote

import pytest

from conftest import PENFOLD, Penfold, Unix, free_port, wait_until

DATAERR, NOINPUT, UNAVAILABLE, CANTCREAT, TEMPFAIL = 65, 66, 69, 73, 75
TREE = {"INBOX": "", "Sent": ".Sent", "Drafts": ".Drafts", "Junk": ".Junk", "Trash": ".Trash", "Archive": ".Archive",
        "Archive/2024": ".Archive.2024", "Archive/2024/Q1": ".Archive.2024.Q1", "Entwürfe & mehr": ".Entw&APw-rfe &- mehr"}
PLAIN = b"Return-Path: <ann@far.example>\r\nFrom: Ann <ann@elsewhere.example>\r\nSubject: one\r\n\r\nHello.\r\n"
MAILS = [
    PLAIN,
    b"Subject: quotes\r\n\r\nFrom the beginning\r\n>From before\r\n>>From longer ago\r\n\r\nFrom me Tue Nov 25 12:00:00 2025\r\n\r\n\r\n",
    b"Status: O\r\nX-Status: D\r\nContent-Length: 2\r\nSubject: its own fields\r\n\r\nx\r\n",
    "Subject: Grüße\r\n\r\nöäü\r\n".encode() + bytes(range(128, 256)) + b"\r\n",
    b"Received: by a.example; Tue, 25 Nov 2025 12:00:00 +0000\r\n" * 60 + b"Bcc: secret@x.example\r\n\r\nno date, no id\r\n",
    b"\r\nno header at all\r\n",
]
ODD = [b"Subject: no end\r\n\r\nlast line", b"Subject: lone\r\n\r\na\nb\rc\r\n", b"Subject: nul\r\n\r\na\0b\r\n"]


class Server(Penfold):
    """`penfold serve` with an account and an admin socket, and nothing else that matters."""

    def __init__(self, path, more=""):
        self.dir = path
        self.socket = f"{path}/admin.sock"
        (path / "penfold.conf").write_text(
            f"user root\nhostname mx.a.example\ndata {path}/data\nworkers 1\nlisten mx {{\n  address 127.0.0.1:{free_port()}\n}}\n"
            f"listen admin {{\n  protocol http\n  address unix:{self.socket}\n}}\ndomain a.example {{\n}}\n{more}")
        super().__init__(path / "data", ["-c", str(path / "penfold.conf")], command="serve", ports=False)
        self.log = str(path / "log")

    def api(self, path, method="GET", body=None, raw=False, headers=None):
        c = Unix(self.socket)
        c.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body), headers or {})
        answer = c.getresponse()
        content = answer.read()
        c.close()
        if answer.status != 200:
            raise OSError(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content if raw else json.loads(content)

    def account(self, name):
        self.api(f"/api/v1/admin/accounts/{name}@a.example?how=new", "PUT", {})
        return f"{name}@a.example"

    def penfold(self, *args, stdin=b"", status=0):
        """What it says on stdout; as JSON when --json asks for that."""
        done = subprocess.run([PENFOLD, *args], env={**os.environ, "PENFOLD_URL": f"unix:{self.socket}"}, input=stdin, capture_output=True,
                              timeout=60)
        assert done.returncode == status, (args, done.returncode, done.stdout[-1000:], done.stderr[-1000:])
        self.said = done.stderr.decode()
        return json.loads(done.stdout) if "--json" in args else done.stdout

    def rows(self, account, folder="INBOX"):
        return self.api(f"/api/v1/admin/mailboxes/{account}/{quote(folder)}?limit=100000")["Messages"]

    def rows_or_none(self, account):
        try:
            return self.rows(account)
        except OSError:
            return []

    def mails(self, account, folder="INBOX"):
        return [self.api(f"/api/v1/message/{m['ID']}/raw?edited=1", raw=True) for m in self.rows(account, folder)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    s = Server(tmp_path_factory.mktemp("server")).start()
    yield s
    s.stop()


def put(directory, name, content, when=1700000000.25, box="cur"):
    for d in "cur", "new", "tmp":
        os.makedirs(directory / d, exist_ok=True)
    (directory / box / name).write_bytes(content)
    os.utime(directory / box / name, (when, when))


def contents(directory):
    """{folder: [(bytes, flags, time)]} of a Maildir, in the order of arrival, without folders that are empty."""
    found = {}
    for base, _, files in os.walk(directory):
        folder, box = os.path.split(os.path.relpath(base, directory))
        for f in files if box in ("cur", "new") else []:
            path = os.path.join(base, f)
            flags = f.split(":2,")[1] if ":2," in f else ""
            found.setdefault(folder, []).append((open(path, "rb").read(), flags, os.stat(path).st_mtime))
    return {folder: sorted(mails, key=lambda m: m[2]) for folder, mails in found.items()}


def test_a_maildir_there_and_back(server, tmp_path):
    account, source, back = server.account("maildir"), tmp_path / "in", tmp_path / "out"
    flags = ["", "S", "RS", "DFS", "ST", "P"]
    for i, directory in enumerate(TREE.values()):
        for k, mail in enumerate(MAILS + ODD):
            file = mail if b"b\rc" in mail else mail.replace(b"\r\n", b"\n")  # a lone CR is only kept with CRLF
            put(source / directory if directory else source, f"{1000 + k}.{i}.host:2,{flags[k % len(flags)]}", file, 1600000000.125 + 100 * i + k)
    put(source, "2000.new.host", b"Subject: new\n\nnobody has seen it\n", 1700000000.5, box="new")
    put(source, "unfinished", b"x", box="tmp")
    result = server.penfold("mailbox", "import", account, "--maildir", str(source), "--json")
    total = len(TREE) * len(MAILS + ODD) + 1
    assert (result["Imported"], result["Skipped"], result["Refused"], result["Complete"]) == (total, 0, 0, True)
    assert {f["Name"]: f["Messages"] for f in result["Folders"]} == {f: len(MAILS + ODD) + (f == "INBOX") for f in TREE}
    for folder in TREE:
        assert server.mails(account, folder)[:len(MAILS + ODD)] == MAILS + ODD
    row = server.rows(account, "Archive/2024")[3]
    assert (row["Flags"], row["Received"]) == (1 + 4 + 8, "2020-09-13T12:36:43.125Z")
    assert server.penfold("mailbox", "export", account, "--maildir", str(back), "--json")["Exported"] == total
    now = contents(back)
    assert now == contents(source)
    assert server.penfold("mailbox", "export", account, "--maildir", str(back), "--json")["Skipped"] == total
    assert contents(back) == now
    listed = {m["Name"]: m for m in server.penfold("mailbox", "list", account, "--json")["Mailboxes"]}
    assert set(listed) == set(TREE) and listed["Sent"]["Role"] == "sent"
    assert listed["INBOX"]["Messages"] == len(MAILS + ODD) + 1
    assert listed["Sent"]["Unseen"] == sum("S" not in flags[k % len(flags)] for k in range(len(MAILS + ODD)))
    assert b"Archive/2024/Q1" in server.penfold("mailbox", "list", account)


def test_an_mbox_there_and_back(server, tmp_path):
    account, other, file = server.account("mbox"), server.account("mbox2"), tmp_path / "box"
    for i, mail in enumerate(MAILS):
        server.api(f"/api/v1/admin/mailboxes/{account}/Archive/2024?flags={i}&received=2021-02-03T04:05:0{i}Z", "POST", mail)
    assert server.penfold("mailbox", "export", account, "--folder", "Archive/2024", "--mbox", str(file)) == b"6 messages exported\n"
    assert file.read_bytes().startswith(b"From ann@far.example Wed Feb  3 04:05:00 2021\n")
    assert len(mailbox.mbox(file)) == len(MAILS)  # as others read it
    piped = server.penfold("mailbox", "export", account, "--folder", "Archive/2024", "--mbox", "-")
    assert piped == file.read_bytes()
    server.penfold("mailbox", "import", other, "--folder", "Archive/2024", "--mbox", str(file))
    server.penfold("mailbox", "import", other, "--mbox", "-", stdin=piped)
    for folder in "Archive/2024", "INBOX":
        assert server.mails(other, folder) == MAILS
        assert [(m["Flags"], m["Received"]) for m in server.rows(other, folder)] == \
               [(i, f"2021-02-03T04:05:0{i}.000Z") for i in range(len(MAILS))]
    server.penfold("mailbox", "export", account, "--mbox", str(file), status=CANTCREAT)  # never written over
    assert len(os.listdir(tmp_path)) == 1


def test_an_mbox_of_others(server, tmp_path):
    account, file = server.account("foreign"), tmp_path / "box"
    file.write_bytes(b"From a@x Tue Nov 25 12:00:00 2025\nSubject: a\nStatus: RO\nX-Status: A\n\n>From here\n\n"
                     b"From b@x Tue Nov 25 12:00:01 2025\r\nSubject: b\r\n\r\nb\r\n")
    server.penfold("mailbox", "import", account, "--mbox", str(file))
    assert server.mails(account) == [b"Subject: a\r\n\r\nFrom here\r\n", b"Subject: b\r\n\r\nb\r\n"]
    assert [m["Flags"] for m in server.rows(account)] == [3, 0]


def test_again_without_doubling(server, tmp_path):
    account, source = server.account("again"), tmp_path / "in"
    for i in range(5):
        put(source, f"{i}.a.host:2,", b"Subject: %d\n\nsame size\n" % i)
    put(source, "5.twin.host:2,", b"Subject: 0\n\nsame size\n")  # two that are equal stay two
    put(source / ".Sent", "1.a.host:2,S", b"Subject: 0\n\nsame size\n")
    run = ["mailbox", "import", account, "--maildir", str(source), "--json", "--skip-existing"]
    assert server.penfold(*run)["Imported"] == 7
    put(source, "8.triplet.host:2,", b"Subject: 0\n\nsame size\n")
    put(source, "9.more.host:2,", b"Subject: 9\n\nsame size\n")
    result = server.penfold(*run)
    assert (result["Imported"], result["Skipped"]) == (2, 7)
    assert (len(server.rows(account)), len(server.rows(account, "Sent"))) == (8, 1)


def test_strangers_names_stay_where_they_are(server, tmp_path):
    account, source, outside = server.account("hostile"), tmp_path / "in", tmp_path / "outside"
    put(outside, "1.secret.host", b"Subject: secret\n\nx\n")
    put(source, "1.good.host:2,", b"Subject: good\n\nx\n")
    os.symlink(outside / "cur" / "1.secret.host", source / "cur" / "2.link.host:2,")
    os.mkfifo(source / "cur" / "3.pipe.host:2,")
    put(source, "4.empty.host:2,", b"")
    os.symlink(outside, source / ".Link")
    for name in ".a..b", ".&AC8-", ".&AAo-", "...":
        put(source / name, "1.bad.host:2,", b"Subject: bad\n\nx\n")
    put(source / ".&AC4-&AC4-.x", "1.dots.host:2,", b"Subject: dots\n\nx\n")
    result = server.penfold("mailbox", "import", account, "--maildir", str(source), "--json", status=DATAERR)
    assert (result["Imported"], result["Refused"]) == (2, 7), server.said
    assert server.mails(account) == [b"Subject: good\r\n\r\nx\r\n"] and server.mails(account, "../x") == [b"Subject: dots\r\n\r\nx\r\n"]
    back = tmp_path / "deep" / "out"
    os.mkdir(tmp_path / "deep")
    server.penfold("mailbox", "export", account, "--maildir", str(back))
    assert os.listdir(tmp_path / "deep") == ["out"] and (back / ".&AC4-&AC4-.x" / "cur").is_dir()
    trap = tmp_path / "trap"
    os.mkdir(trap)
    os.symlink(outside, trap / ".Sent")
    before = contents(outside)
    server.penfold("mailbox", "export", account, "--maildir", str(trap), status=74)
    assert contents(outside) == before


def test_what_is_wrong_is_told(server, tmp_path):
    account = server.account("wrong")
    (tmp_path / "text").write_text("Dear reader,\n\nthis is no mbox.\n")
    for args, status, said in [
            (["list", "nobody@a.example"], UNAVAILABLE, "there is no such account"),
            (["import", "nobody@a.example", "--mbox", str(tmp_path / "text")], UNAVAILABLE, "there is no such account"),
            (["import", account, "--mbox", str(tmp_path / "none")], NOINPUT, "No such file"),
            (["import", account, "--maildir", str(tmp_path)], NOINPUT, "is no Maildir"),
            (["import", account, "--mbox", str(tmp_path / "text")], DATAERR, "it is no mbox"),
            (["import", account, "--mbox", str(tmp_path)], NOINPUT, "is it a --maildir?"),
            (["export", account, "--folder", "None", "--mbox", str(tmp_path / "x")], UNAVAILABLE, "there is no folder None"),
            (["import", account], 64, "one of --maildir DIR and --mbox FILE"),
            (["import", account, "--mbox", "x", "--folder", "a//b"], 64, "no name for a folder"),
            (["drop", account], 64, 'there is no "mailbox drop"')]:
        server.penfold("mailbox", *args, status=status)
        assert said in server.said, (args, server.said)
    assert not (tmp_path / "x").exists() and server.rows_or_none(account) == []


def test_one_that_is_too_large_stays_behind(server, tmp_path):
    account = server.account("large")
    put(tmp_path / "in", "1.a.host:2,", b"Subject: large\n\n" + b"x" * 70 + b"\n" * (8 << 20))
    put(tmp_path / "in", "2.a.host:2,", b"Subject: too large\n\n" + (b"x" * 71 + b"\n") * (60 << 20 >> 6))
    put(tmp_path / "in", "3.a.host:2,", b"Subject: small\n\nx\n")
    result = server.penfold("mailbox", "import", account, "--maildir", str(tmp_path / "in"), "--json", status=DATAERR)
    assert (result["Imported"], result["Refused"]) == (2, 1) and "2.a.host" in server.said
    assert len(server.mails(account)[0]) > 16 << 20


def test_an_import_that_is_interrupted(server, tmp_path):
    account, count = server.account("stopped"), 3000
    for i in range(count):
        put(tmp_path / "in", f"{i}.a.host:2,", b"Subject: %d\n\nx\n" % i)
    run = [PENFOLD, "mailbox", "import", account, "--maildir", str(tmp_path / "in"), "--skip-existing", "--json", "--url", f"unix:{server.socket}"]
    process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: len(server.rows_or_none(account)) > 5, what="the first messages")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    result = json.loads(out)
    assert process.returncode == TEMPFAIL and not result["Complete"] and 5 < result["Imported"] < count
    assert server.api(f"/api/v1/admin/mailboxes/{account}")["Mailboxes"][0]["Messages"] == result["Imported"]
    again = server.penfold("mailbox", "import", account, "--maildir", str(tmp_path / "in"), "--skip-existing", "--json")
    assert again["Skipped"] == result["Imported"] and again["Imported"] == count - result["Imported"]


def test_the_server_dies_on_the_way(tmp_path):
    server, count = Server(tmp_path).start(), 3000
    account = server.account("ada")
    for i in range(count):
        put(tmp_path / "in", f"{i}.a.host:2,", b"Subject: %d\n\nx\n" % i)
    run = ["mailbox", "import", account, "--maildir", str(tmp_path / "in"), "--skip-existing", "--json"]
    process = subprocess.Popen([PENFOLD, *run, "--url", f"unix:{server.socket}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(server.rows_or_none(account)) > 5, what="the first messages")
    server.kill()
    result = json.loads(process.communicate(timeout=90)[0])
    assert process.returncode in (UNAVAILABLE, TEMPFAIL) and not result["Complete"]
    server.start()
    again = server.penfold(*run)
    assert again["Skipped"] in (result["Imported"], result["Imported"] + 1)  # one was on its way
    assert sorted(server.mails(account)) == sorted(b"Subject: %d\r\n\r\nx\r\n" % i for i in range(count))
    server.stop()


def test_flags_and_dates_outlive_the_database(tmp_path):
    server = Server(tmp_path, "account ada@a.example {\n}\n").start()
    account = "ada@a.example"
    server.api(f"/api/v1/admin/mailboxes/{account}/Archive/2024?flags=5&received=2001-02-03T04:05:06Z", "POST", PLAIN)
    before = server.rows(account, "Archive/2024")
    server.stop()
    for name in os.listdir(tmp_path / "data"):
        if name.startswith("penfold.db"):
            os.unlink(tmp_path / "data" / name)
    server.start()
    assert wait_until(lambda: server.rows(account, "Archive/2024"), what="the rows") == before
    server.stop()


@pytest.mark.parametrize("path, status", [
    ("ada@a.example/INBOX?flags=64", 400), ("ada@a.example/INBOX?received=yesterday", 400), ("ada@a.example/a//b", 200),
    ("ada@a.example/" + "x" * 300, 400), ("nobody@a.example/INBOX", 404), ("nonsense/INBOX", 404)])
def test_appending_refuses(server, path, status):
    if not any(e["Key"] == "ada@a.example" for e in server.api("/api/v1/admin/accounts")["Entries"]):
        server.account("ada")
    try:
        server.api(f"/api/v1/admin/mailboxes/{path}", "POST", PLAIN)
        assert status == 200
    except OSError as e:
        assert f": {status} " in str(e)

"""The store from outside: what it says on bad days, deletion, retention, and what an interrupted life leaves."""
import glob
import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile

import pytest

from conftest import PENFOLD, Penfold, Smtp, wait_until

BODY = b"Subject: store\r\n\r\nhello\r\n"


def send(p, count=1, body=BODY):
    s = Smtp(p.smtp)
    s.cmd("EHLO store.example")
    for _ in range(count):
        assert s.message(body).startswith("250")
    s.cmd("QUIT")
    s.close()


def failing(data, *args, limit=20):
    """Starts one that must not start; returns its exit status and all it said."""
    p = Penfold(data, args)
    done = subprocess.run(p.argv, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr


def check(data):
    return subprocess.run([PENFOLD, "store", "check", "--data", str(data)], capture_output=True, text=True, timeout=120)


def test_second_instance(penfold, tmp_path):
    p = penfold()
    send(p)
    status, said = failing(p.data)
    assert status != 0
    assert "another penfold (pid " in said and str(p.data) in said
    send(p)
    assert p.messages()["total"] == 2
    done = check(p.data)
    assert done.returncode != 0 and "another penfold" in done.stderr


def test_newer_database(penfold, tmp_path):
    p = penfold()
    send(p)
    p.stop()
    with sqlite3.connect(os.path.join(p.data, "penfold.db")) as db:
        db.execute("PRAGMA user_version=4711")
    status, said = failing(p.data)
    assert status != 0 and "newer Penfold" in said


def test_damaged_journal(penfold, tmp_path):
    """One bit in what was acknowledged, seen at the replay after a crash: refused, named, and nothing is cut."""
    p = penfold()
    send(p, 20)
    p.kill()
    for name in glob.glob(os.path.join(p.data, "penfold.db*")):
        os.unlink(name)  # as if the database had not kept up: everything is read from the journal again
    segment = max(glob.glob(os.path.join(p.data, "journal", "*.log")), key=lambda n: open(n, "rb").read(4) == b"PFJ1")
    with open(segment, "r+b") as f:
        content = f.read(8192)
        at = content.index(b"hello")
        f.seek(at)
        f.write(b"jello")
    before = open(segment, "rb").read()
    status, said = failing(p.data)
    assert status != 0 and "is damaged at offset" in said and "penfold store check" in said and os.path.basename(segment) in said
    assert open(segment, "rb").read() == before


def test_unwritable_directory():
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"] if os.geteuid() == 0 else []
    if nobody and (not shutil.which("setpriv") or subprocess.run(nobody + ["test", "-x", PENFOLD]).returncode):
        pytest.skip("root may write anywhere, and nobody else may run this build")
    base = tempfile.mkdtemp()
    try:
        os.chmod(base, 0o755)
        data = os.path.join(base, "data")
        os.mkdir(data, 0o500 if not nobody else 0o755)
        done = subprocess.run(nobody + Penfold(data).argv, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
        assert done.returncode != 0
        assert data in done.stderr and "Permission denied" in done.stderr, done.stderr
        assert not os.listdir(data)
    finally:
        shutil.rmtree(base)


def test_directory_is_a_file(tmp_path):
    data = tmp_path / "data"
    data.write_text("not a directory")
    status, said = failing(data)
    assert status != 0 and str(data) in said


def test_replay_without_database(penfold, tmp_path):
    """The journal alone brings everything back."""
    p = penfold()
    send(p, 30)
    ids = {m["ID"] for m in p.messages(limit=100)["messages"]}
    p.kill()
    for name in glob.glob(os.path.join(p.data, "penfold.db*")):
        os.unlink(name)
    p.start()
    assert {m["ID"] for m in p.messages(limit=100)["messages"]} == ids
    assert p.raw(sorted(ids)[0]) == BODY
    assert "store_rebuilt" in open(p.log).read()
    assert "store_gaps" not in open(p.log).read()  # the whole journal is there: nothing deleted can be back


def test_read_your_writes(penfold):
    p = penfold()
    for count in range(1, 60):
        send(p)
        assert p.messages()["total"] == count


def test_retention_by_count(penfold):
    p = penfold("--retain-count", "10")
    send(p, 50)
    wait_until(lambda: p.messages()["total"] == 10, what="retention")
    assert len(p.messages(limit=100)["messages"]) == 10


def test_delete_and_check(penfold):
    p = penfold()
    send(p, 10)
    send(p, 1, b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" + b"0123456789abcdef\r\n" * 120000)
    assert len(os.listdir(os.path.join(p.data, "big"))) == 1
    ids = [m["ID"] for m in p.messages(limit=100)["messages"]]
    p.api("/api/v1/messages", "DELETE", {"IDs": ids[:5]}, raw=True)
    assert p.messages()["total"] == 6
    wait_until(lambda: not os.listdir(os.path.join(p.data, "big")), what="the end of the big file")
    p.api("/api/v1/messages", "DELETE", {"IDs": []}, raw=True)
    assert p.messages()["total"] == 0
    send(p)
    p.stop()
    done = check(p.data)
    assert done.returncode == 0, done.stdout + done.stderr


def test_check_finds_damage(penfold):
    p = penfold()
    send(p, 20)
    p.stop()
    assert check(p.data).returncode == 0
    for segment in glob.glob(os.path.join(p.data, "journal", "*.log")):
        with open(segment, "r+b") as f:
            content = f.read(8192)
            if b"hello" in content:
                f.seek(content.index(b"hello"))
                f.write(b"jello")
    done = check(p.data)
    assert done.returncode != 0 and "fault" in done.stderr


def test_memory_stays_flat(penfold):
    """Large messages at once pass through files, not through memory."""
    import threading
    p = penfold()
    store = p.role("store")[0]

    def pss():
        for line in open(f"/proc/{store}/smaps_rollup"):
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1])

    before = pss()
    body = b"Subject: large\r\n\r\n" + b"0123456789abcdef0123456789abcdef0123456789abcdef\r\n" * 200000
    threads = [threading.Thread(target=send, args=(p, 1, body)) for _ in range(12)]
    for t in threads:
        t.start()
    highest = 0
    while any(t.is_alive() for t in threads):
        highest = max(highest, pss())
        threads[0].join(0.02)
        for t in threads:
            t.join(0.001)
    assert p.messages()["total"] == 12
    assert highest - before < 40 * 1024, f"{highest - before} KiB for 12 messages of 10 MB"


@pytest.fixture
def small_disk():
    """A file system of 64 MB of its own, and a function that gives it another size."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")
    path = tempfile.mkdtemp()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "penfold-test", path], capture_output=True).returncode:
        os.rmdir(path)
        pytest.skip("this container may not mount")

    def resize(megabytes):
        subprocess.run(["mount", "-o", f"remount,size={megabytes}m", path], check=True)

    yield path, resize
    subprocess.run(["umount", "-l", path], check=True)
    os.rmdir(path)


def tell_of(p, event):
    return open(p.log).read().count(f" {event}: ")


def fill_disk(p, accepted, limit=3000):
    """Sends until one is refused; the reply, and to which command it was."""
    s = Smtp(p.smtp)
    s.cmd("EHLO full.example")
    for number in range(limit):
        body = b"Subject: %d\r\n\r\n" % len(accepted) + os.urandom(30).hex().encode() * 16 + b"\r\n"
        body += b"0123456789abcdef0123456789abcdef0123456789abcdef\r\n" * 1000
        for command in ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA"):
            reply = s.cmd(command)
            if not reply.startswith(("250", "354")):
                s.close()
                return command, reply
        s.send(body + b".\r\n")
        reply = s.reply()
        if not reply.startswith("250"):
            s.close()
            return ".", reply
        accepted[re.search(r"\b[0-9A-Za-z]{22}\b", reply).group()] = hashlib.sha256(body).hexdigest()
    raise AssertionError(f"{limit} messages, and the disk is not full")


def assert_all_there(p, accepted):
    ids, start = set(), 0
    while True:
        page = [m["ID"] for m in p.messages(limit=500, start=start)["messages"]]
        if not page:
            break
        ids.update(page)
        start += len(page)
    assert ids == set(accepted)
    for message_id, digest in accepted.items():
        assert hashlib.sha256(p.raw(message_id)).hexdigest() == digest


def answer_before_data(p):
    """The first refusal of a transaction, or the 354 of DATA."""
    s = Smtp(p.smtp)
    try:
        s.cmd("EHLO again.example")
        for command in ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA"):
            reply = s.cmd(command)
            if not reply.startswith("250"):
                break
        return reply
    finally:
        s.close()


def accepts(p):
    return answer_before_data(p).startswith("354")


def refused(p):
    return answer_before_data(p).startswith("452")


def test_full_disk(small_disk, tmp_path):
    """452 before DATA, nothing lost or doubled, and mail is accepted again when messages were deleted or the disk has grown."""
    path, resize = small_disk
    config = tmp_path / "small.conf"
    config.write_text("journal_segment_size 4MiB\ndisk_reserve 16MiB\nretain_bytes 0\n")
    p = Penfold(os.path.join(path, "data"), ("--config", str(config)))
    p.log = str(tmp_path / "log")
    p.start()
    accepted = {}
    try:
        command, reply = fill_disk(p, accepted)
        assert command != "." and reply.startswith("452"), (command, reply)
        assert len(accepted) > 300
        assert tell_of(p, "store_full") == 1
        assert_all_there(p, accepted)
        doomed = list(accepted)[:600]
        p.api("/api/v1/messages", "DELETE", {"IDs": doomed}, raw=True)
        for message_id in doomed:
            del accepted[message_id]
        wait_until(lambda: accepts(p), 60, "mail after a deletion")
        assert tell_of(p, "store_room") == 1
        command, reply = fill_disk(p, accepted)
        assert command != "." and reply.startswith("452")
        resize(128)
        wait_until(lambda: accepts(p), 30, "mail on a larger disk")
        send_one = len(accepted)
        ballast = os.path.join(path, "ballast")
        with open(ballast, "wb", buffering=0) as f:  # somebody else takes all of it, the reserve too
            try:
                while True:
                    f.write(bytes(1 << 20))
            except OSError:
                pass
        wait_until(lambda: refused(p), 30, "the refusal")
        assert len(accepted) == send_one
        assert_all_there(p, accepted)
        os.unlink(ballast)
        wait_until(lambda: accepts(p), 30, "mail after the disk was given back")
        p.kill()
        p.start()
        assert_all_there(p, accepted)
        p.stop()
        done = check(p.data)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        if p.process.poll() is None:
            p.stop()


def small_store(path, tmp_path, settings):
    config = tmp_path / "small.conf"
    config.write_text(settings)
    p = Penfold(os.path.join(path, "data"), ("--config", str(config)))
    p.log = str(tmp_path / "log")
    p.start()
    return p


def free_bytes(path):
    s = os.statvfs(path)
    return s.f_bavail * s.f_frsize


def delete_all(p):
    p.api("/api/v1/messages", "DELETE", {"IDs": []}, raw=True)


def eat(path):
    """Somebody else takes all the space there is."""
    ballast = os.path.join(path, "ballast")
    with open(ballast, "ab", buffering=0) as f:
        for size in (1 << 20, 4096):
            try:
                while f.write(bytes(size)):
                    pass
            except OSError:
                pass
    return ballast


def end(p):
    if p.process.poll() is None:
        p.stop()


def test_full_disk_deletion_helps(small_disk, tmp_path):
    """Segments larger than what is left: none is made ahead, the reserve stays, and a deletion gives the space back."""
    path, resize = small_disk
    resize(90)
    reserve = 20 << 20
    p = small_store(path, tmp_path, "disk_reserve 20MiB\nretain_bytes 0\n")
    try:
        for restarted in (False, True):
            accepted = {}
            command, reply = fill_disk(p, accepted)
            assert command != "." and reply.startswith("452"), (command, reply)
            assert accepted  # how many depends on how far the journal had grown when space was looked at
            assert free_bytes(path) > reserve // 2  # where mail on its way is refused, too
            assert_all_there(p, accepted)
            if restarted:
                p.stop()
                p.start()
                assert_all_there(p, accepted)
            delete_all(p)
            assert p.messages()["total"] == 0
            wait_until(lambda: accepts(p), 15, "mail after everything was deleted")
        p.stop()
        assert check(p.data).returncode == 0
    finally:
        end(p)


@pytest.mark.parametrize("life", ["running", "stopped"])
def test_disk_without_any_space(small_disk, tmp_path, life):
    """Somebody else took the reserve, too: it starts, lists and deletes all the same, and says what is wrong once."""
    path, resize = small_disk
    p = small_store(path, tmp_path, "journal_segment_size 4MiB\ndisk_reserve 4MiB\nretain_bytes 0\n")
    accepted = {}
    try:
        fill_disk(p, accepted)
        ballast = eat(path)
        assert free_bytes(path) == 0
        wait_until(lambda: refused(p), 10, "the refusal")
        if life == "stopped":
            p.stop()
            eat(path)
            p.start()
        assert_all_there(p, accepted)
        doomed = list(accepted)[: len(accepted) // 2]
        for few in (doomed[:1], doomed[1:]):
            p.api("/api/v1/messages", "DELETE", {"IDs": few}, raw=True)
            for message_id in few:
                del accepted[message_id]
            wait_until(lambda: p.messages()["total"] == len(accepted), 90, "the list without what was deleted")
        assert_all_there(p, accepted)
        assert tell_of(p, "store_io") <= 4, "what stays wrong is told once"
        os.unlink(ballast)
        p.kill()
        p.start()
        assert_all_there(p, accepted)
        delete_all(p)
        wait_until(lambda: p.messages()["total"] == 0, 90, "the empty list")
        wait_until(lambda: accepts(p), 15, "mail after everything was deleted")
        wait_until(lambda: os.path.exists(os.path.join(p.data, "spare")), 15, "a new spare")
        p.stop()
        done = check(p.data)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        end(p)

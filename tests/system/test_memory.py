"""Memory: idle connections, an idle sandbox, and big messages that pass without being held.

PSS of all processes is what the machine really gives; the bounds are those the project promises.
"""
import base64
import random
import resource
import socket
import ssl
import threading

import pytest

from conftest import BUILD, SOAK, Smtp, wait_until

pytestmark = pytest.mark.skipif("build-san" in BUILD, reason="a sanitizer's shadow is not the program's memory")


def pss_kib(box):
    total = 0
    for pid in [box.process.pid] + [p for pids in box.roles().values() for p in pids]:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total


def settled(box):
    """PSS once two readings in a row agree."""
    last = [0]

    def same():
        now = pss_kib(box)
        equal, last[0] = abs(now - last[0]) < 64, now
        return equal

    wait_until(same, 20, "a steady memory")
    return last[0]


def raise_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def test_an_idle_sandbox_is_small(penfold):
    idle = settled(penfold())
    print(f"an idle sandbox, all its processes: {idle / 1024:.1f} MiB")
    assert idle <= 40 * 1024


def test_ten_thousand_idle_connections(penfold):
    count = 10000 if raise_files() >= 12000 else 500
    box = penfold()
    before = settled(box)
    clients = []
    for i in range(count):
        s = socket.create_connection(("127.0.0.1", box.smtp), timeout=30, source_address=(f"127.0.{1 + i // 5000}.1", 0))
        s.sendall(b"EHLO idle.example\r\n")
        clients.append(s)
    for s in clients:
        data = b""
        while not data.endswith(b"\r\n") or b"\r\n250 " not in data:
            data += s.recv(4096)
    grown = settled(box) - before
    assert Smtp(box.smtp).cmd("NOOP").startswith("250"), "still serving"
    for s in clients:
        s.close()
    print(f"{count} idle connections: {grown / count:.2f} KiB each")
    assert grown / count <= 8


def test_idle_tls_connections(penfold):
    raise_files()
    count = 1000
    box = penfold()
    context = ssl._create_unverified_context()
    Smtp(box.smtps, tls=context).close()
    before = settled(box)
    clients = []
    for _ in range(count):
        s = Smtp(box.smtps, tls=context)
        s.cmd("EHLO idle.example")
        clients.append(s)
    grown = settled(box) - before
    for s in clients:
        s.close()
    print(f"{count} idle TLS connections: {grown / count:.2f} KiB each")
    assert grown / count <= 40


LINE = b"A line of a large message, seventy-odd bytes of ordinary text, no more.\r\n"
BLOCK = LINE * 900  # about 64 KiB


def send_big(port, size, outcome):
    s = Smtp(port)
    s.cmd("EHLO big.example")
    s.cmd("MAIL FROM:<a@example.com>")
    s.cmd("RCPT TO:<b@example.com>")
    s.cmd("DATA")
    s.sock.settimeout(300)
    s.send(b"Subject: big\r\n\r\n")
    sent = 0
    while sent < size:
        s.send(BLOCK)
        sent += len(BLOCK)
    s.send(b".\r\n")
    outcome.append(s.reply())
    s.close()


def slow_reader(port, path):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(("127.0.0.1", port))
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert s.recv(12) == b"HTTP/1.1 200"
    return s


def test_readers_that_take_nothing(penfold):
    """A part of 30 MiB to twenty clients that stop reading: it is held by nobody, and another one gets all of it."""
    box = penfold()
    part = random.Random(1).randbytes(30 << 20)
    head = b"MIME-Version: 1.0\r\nContent-Type: application/x-test\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    body = head + base64.encodebytes(part).replace(b"\n", b"\r\n")
    s = Smtp(box.smtp)
    s.sock.settimeout(60)
    s.cmd("EHLO big.example")
    assert s.message(body).startswith("250")
    s.close()
    path = f"/api/v1/message/{box.messages()['messages'][0]['ID']}/part/0"
    assert box.api(path, raw=True) == part
    before = settled(box)
    clients = [slow_reader(box.http, path) for _ in range(20)]
    grown = settled(box) - before
    assert box.api(path, raw=True) == part
    after = settled(box) - before
    for c in clients:
        c.close()
    print(f"20 readers that take nothing of 30 MiB: {grown / 1024:.1f} MiB more, {after / 1024:.1f} MiB after another read it all")
    assert max(grown, after) < 16 * 1024


def test_big_messages_pass_with_memory_flat(penfold):
    size = 49 * 1024 * 1024
    box = penfold()
    before, outcome, most = settled(box), [], 0
    one = threading.Thread(target=send_big, args=(box.smtp, size, outcome))
    one.start()
    while one.is_alive():
        most = max(most, pss_kib(box))
        one.join(0.05)
    print(f"one message of 49 MiB: {(most - before) / 1024:.1f} MiB more than idle")
    assert outcome[0].startswith("250") and most - before < 24 * 1024
    several = 100 if SOAK else 20
    outcome.clear()
    threads = [threading.Thread(target=send_big, args=(box.smtp, size, outcome)) for _ in range(several)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        most = max(most, pss_kib(box))
        threads[0].join(0.2) if threads[0].is_alive() else next((t for t in threads if t.is_alive()), threads[0]).join(0.2)
    print(f"{several} messages of 49 MiB at once: {(most - before) / 1024:.1f} MiB more than idle")
    assert [o[:3] for o in outcome] == ["250"] * several
    assert most - before < 160 * 1024

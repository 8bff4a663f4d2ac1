"""A DNS of one's own for tests, on loopback: nsd with zones that the test writes down, signed where it wants, and a small
server for what no honest server does (SERVFAIL, silence, damage).

    server = Server(tmp_path, {"example.org": "@ MX 10 mx\\nmx A 192.0.2.1\\n", "signed.example": (text, "signed")})
    server.address           "127.0.0.1:5300", for `dns` in penfold.conf or --dns
    server.anchor            the file for dns_anchor: the keys of the signed zones; what lies elsewhere is not validated
    server.change("example.org", text)       and its serial grows
    server.stop()

A zone's text is a master file without SOA and NS; "@" is the zone.  kinds: "plain", "signed", "bogus" (signed, then
changed: it does not validate).  TTLs are `ttl` seconds, also of what is not there.
A resolver that forwards asks this server as if it knew everything: names outside the zones are REFUSED.
"""
import os
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from conftest import free_port, wait_until

NSD = shutil.which("nsd") or "/usr/sbin/nsd"
needs_nsd = pytest.mark.skipif(not os.path.exists(NSD), reason="nsd is not installed (tools/deps install test)")


def run(*argv, cwd):
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout


class Server:
    def __init__(self, path, zones, port=None, ttl=300):
        self.path = os.path.join(str(path), f"dns-{id(self):x}")
        os.makedirs(self.path)
        self.port, self.ttl, self.serial, self.process, self.kinds = port or free_port(), ttl, 1, None, {}
        self.anchor = os.path.join(self.path, "anchor.key")
        open(self.anchor, "w").close()
        for name, zone in zones.items():
            text, kind = (zone, "plain") if isinstance(zone, str) else zone
            self.kinds[name] = kind
            self.write(name, text)
        self.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def write(self, name, text):
        head = (f"$ORIGIN {name}.\n$TTL {self.ttl}\n@ SOA ns.invalid. hostmaster.invalid. {self.serial} 3600 600 86400 {self.ttl}\n"
                "@ NS ns.invalid.\n")
        self.serial += 1
        with open(os.path.join(self.path, name), "w") as f:
            f.write(head + text)
        if self.kinds[name] != "plain":
            self.sign(name)
        if self.kinds[name] == "bogus":
            self.spoil(name)

    def sign(self, name):
        key = os.path.join(self.path, name + ".keyname")
        if not os.path.exists(key):
            base = run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", name, cwd=self.path).strip()
            open(key, "w").write(base)
            open(self.anchor, "a").write(open(os.path.join(self.path, base + ".key")).read())
        base = open(key).read()
        run("ldns-signzone", "-f", name + ".out", name, base, cwd=self.path)
        os.replace(os.path.join(self.path, name + ".out"), os.path.join(self.path, name))

    def spoil(self, name):
        """Every address is another one than the one that was signed, and every preference."""
        lines = []
        for line in open(os.path.join(self.path, name)):
            fields = line.split()
            if len(fields) > 4 and fields[3] == "A":
                fields[4] = "203.0.113.66"
            if len(fields) > 5 and fields[3] == "MX":
                fields[4] = str((int(fields[4]) + 1) % 65536)
            lines.append(" ".join(fields) + "\n")
        open(os.path.join(self.path, name), "w").writelines(lines)

    def config(self):
        text = (f'server:\n ip-address: 127.0.0.1@{self.port}\n username: ""\n zonesdir: "{self.path}"\n database: ""\n'
                f' pidfile: "{self.path}/pid"\n xfrdfile: ""\n zonelistfile: "{self.path}/zonelist"\n xfrdir: "{self.path}"\n'
                f' server-count: 1\n rrl-ratelimit: 0\n verbosity: 0\nremote-control:\n control-enable: no\n')
        for name in self.kinds:
            text += f'zone:\n name: "{name}"\n zonefile: "{name}"\n'
        open(os.path.join(self.path, "nsd.conf"), "w").write(text)

    def start(self):
        self.config()
        log = open(os.path.join(self.path, "log"), "a")
        self.process = subprocess.Popen([NSD, "-d", "-c", os.path.join(self.path, "nsd.conf")], stdout=log, stderr=log)
        wait_until(self.answers, what="the DNS server")

    def answers(self):
        assert self.process.poll() is None, open(os.path.join(self.path, "log")).read()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            try:
                s.sendto(struct.pack(">6H", 7, 0, 1, 0, 0, 0) + wire_name(next(iter(self.kinds), "x")) + struct.pack(">2H", 6, 1),
                         ("127.0.0.1", self.port))
                return bool(s.recv(4096))
            except OSError:
                return False

    def change(self, name, text):
        self.write(name, text)
        self.stop()
        self.start()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)


def wire_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


class Faults(threading.Thread):
    """A server that answers as `answer(name, type, packet)` says: bytes, a response code, or None: not at all.
    `delay` seconds pass before each answer; `asked` is every question that came, as (name, type)."""

    def __init__(self, answer, delay=0.0):
        super().__init__(daemon=True)
        self.answer, self.delay, self.asked = answer, delay, []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def run(self):
        while True:
            try:
                packet, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            threading.Thread(target=self.reply, args=(packet, peer), daemon=True).start()

    def reply(self, packet, peer):
        name, at = [], 12
        while packet[at]:
            name.append(packet[at + 1:at + 1 + packet[at]].decode().lower())
            at += 1 + packet[at]
        kind = struct.unpack_from(">H", packet, at + 1)[0]
        self.asked.append((".".join(name), kind))
        time.sleep(self.delay)
        said = self.answer(".".join(name), kind, packet)
        if isinstance(said, int):
            said = packet[:2] + struct.pack(">5H", 0x8180 | said, 1, 0, 0, 0) + packet[12:at + 5]
        try:
            if said is not None:
                self.sock.sendto(said, peer)
        except OSError:
            pass  # closed meanwhile

    def records(self, packet, name, *records, ttl=300):
        """An answer to the question of packet: records are (type, data)."""
        question = packet[12:12 + len(wire_name(name)) + 4]
        body = b"".join(b"\xc0\x0c" + struct.pack(">2HIH", kind, 1, ttl, len(data)) + data for kind, data in records)
        return packet[:2] + struct.pack(">5H", 0x8180, 1, len(records), 0, 0) + question + body

    def close(self):
        self.sock.close()

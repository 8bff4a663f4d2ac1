"""Other people's mail servers, well and badly behaved, for tests that deliver to them: one thread a connection."""
import base64
import socket
import ssl
import struct
import subprocess
import threading
import time


def certificate(folder, name="localhost"):
    """(certificate, key) files that a client can be told to trust."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1", "-keyout", key, "-out", cert],
                   check=True, stderr=subprocess.DEVNULL)
    return cert, key


class Gone(Exception):
    pass


class Receiver:
    """`replies` answers a command by the start of its line: bytes, or a function of (session, line); "." is the final dot,
    with the mail among `mails` already.
    `drop`: the connection is closed when a line begins with it ("greeting", "dot": after the final dot, unanswered)."""

    def __init__(self, extensions=("PIPELINING", "8BITMIME", "SIZE 1000000"), tls=None, implicit=False, lmtp=False, replies=None,
                 drop=None, greeting=b"220 receiver ESMTP\r\n", host="127.0.0.1", path=None, slow=0):
        self.extensions, self.tls, self.implicit, self.lmtp = list(extensions), tls, implicit, lmtp
        self.replies, self.drop, self.greeting, self.slow = replies or {}, drop, greeting, slow
        self.mails, self.connections, self.commands, self.lock = [], 0, [], threading.Lock()
        if path:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.bind(path)
            self.sock.listen(1024)
            self.port = 0
        else:
            self.sock = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
            self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
            threading.Thread(target=Session(self, sock).run, daemon=True).start()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


class Session:
    def __init__(self, server, sock):
        self.server, self.sock, self.data, self.tls, self.user = server, sock, b"", False, None
        self.mail = None

    def handshake(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.server.tls)
        self.sock = context.wrap_socket(self.sock, server_side=True)
        self.tls = True

    def say(self, data):
        self.sock.sendall(data)

    def more(self):
        piece = self.sock.recv(65536)
        if not piece:
            raise Gone
        self.data += piece

    def line(self):
        while b"\r\n" not in self.data:
            self.more()
        line, self.data = self.data.split(b"\r\n", 1)
        return line

    def exactly(self, n):
        while len(self.data) < n:
            self.more()
        piece, self.data = self.data[:n], self.data[n:]
        return piece

    def run(self):
        try:
            if self.server.implicit:
                self.handshake()
            if self.server.drop == "greeting":
                return
            greeting = self.server.greeting
            self.say(greeting(self, b"") if callable(greeting) else greeting)
            while True:
                self.command(self.line())
        except (Gone, OSError, ssl.SSLError, ValueError):
            pass
        finally:
            self.sock.close()

    def command(self, line):
        with self.server.lock:
            self.server.commands.append(line)
        upper = line.upper()
        if self.server.drop and upper.startswith(self.server.drop.encode()):
            raise Gone
        for start, reply in self.server.replies.items():
            if upper.startswith(start.encode()):
                reply = reply(self, line) if callable(reply) else reply
                if reply is not None:
                    self.say(reply)
                    return
        word = upper.split(b" ")[0].split(b":")[0]
        getattr(self, "on_" + word.decode().lower(), self.unknown)(line)

    def unknown(self, line):
        self.say(b"500 what?\r\n")

    def on_ehlo(self, line):
        self.mail = None
        words = [w for w in self.server.extensions if not (w == "STARTTLS" and self.tls)]
        self.say(b"".join(b"250-%s\r\n" % w.encode() for w in ["receiver"] + words) + b"250 HELP\r\n")

    on_lhlo = on_ehlo

    def on_helo(self, line):
        self.say(b"250 receiver\r\n")

    def on_starttls(self, line):
        self.say(b"220 go\r\n")
        self.handshake()

    def on_auth(self, line):
        words = line.split()
        if words[1].upper() == b"PLAIN":
            self.user = base64.b64decode(words[2]).split(b"\0")[1:]
            self.say(b"235 yes\r\n" if self.user == [b"joe", b"pencil"] else b"535 5.7.8 no\r\n")
        else:
            self.say(b"504 no\r\n")

    def on_mail(self, line):
        self.mail = {"from": line, "to": [], "tls": self.tls, "user": self.user, "data": b""}
        self.say(b"250 2.1.0 ok\r\n")

    def on_rcpt(self, line):
        if not self.mail:
            self.say(b"503 5.5.1 MAIL first\r\n")
            return
        self.mail["to"].append(line)
        self.say(b"250 2.1.5 ok\r\n")

    def on_data(self, line):
        if not self.mail:
            self.say(b"503 5.5.1 MAIL first\r\n")
            return
        self.say(b"354 go\r\n")
        data = b""
        while not (data.endswith(b"\r\n.\r\n") or data == b".\r\n"):
            while b"\r\n" not in self.data:
                self.more()
            end = self.data.index(b"\r\n") + 2
            data, self.data = data + self.data[:end], self.data[end:]
        self.mail["data"] = data[:-3].replace(b"\r\n..", b"\r\n.")
        self.taken()

    def on_bdat(self, line):
        words = line.split()
        self.mail["data"] += self.exactly(int(words[1]))
        if len(words) > 2:
            self.taken()
        else:
            self.say(b"250 2.0.0 chunk\r\n")

    def taken(self):
        if self.server.drop == "dot":
            with self.server.lock:
                self.server.mails.append(self.mail)
            raise Gone
        time.sleep(self.server.slow)
        with self.server.lock:
            self.server.mails.append(self.mail)
        final = self.server.replies.get(".")
        if final:
            self.say(final(self, b".") if callable(final) else final)
        else:
            self.say(b"250 2.0.0 taken\r\n" * (len(self.mail["to"]) if self.server.lmtp else 1))

    def on_rset(self, line):
        self.say(b"250 ok\r\n")

    def on_quit(self, line):
        self.say(b"221 bye\r\n")
        raise Gone


def dns_answer(name, kind, status=0, records=(), ttl=300, text=""):
    """dns/dns.h, encoded; records: (preference, value)."""
    def lstr(s):
        return struct.pack("<I", len(s)) + s.encode()
    data = b"\x01" + lstr(name) + struct.pack("<IBBI", kind, status, 0, ttl) + lstr(name) + lstr(text) + struct.pack("<I", len(records))
    return data + b"".join(struct.pack("<I", p) + lstr(v) for p, v in records)

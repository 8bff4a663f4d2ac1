"""The frames of src/frame/frames.def, and our end of a link, for tests that stand in for a role or the supervisor."""
import os
import re
import socket
import struct
import threading

from conftest import ROOT


def rows():
    """frames.def: {number: (name, [(kind, field)])} and {name: number}."""
    text = open(os.path.join(ROOT, "src/frame/frames.def")).read()
    found = {}
    for name, number, fields in re.findall(r"^FRAME\(\w+, (\w+), (\d+), \w+, (.*?)\)(?:\s*/\*.*)?$", text, re.M):
        found[int(number)] = (name, re.findall(r"(U8|U32|U64|STR)\((\w+)\)", fields + ")"))
    return found


ROWS = rows()
NUMBERS = {name: number for number, (name, _) in ROWS.items()}
FORMATS = {"U8": "<B", "U32": "<I", "U64": "<Q"}


def pack(name, /, **values):
    body = b""
    for kind, field in ROWS[NUMBERS[name]][1]:
        value = values.get(field, b"" if kind == "STR" else 0)
        if kind == "STR":
            value = value.encode() if isinstance(value, str) else value
            body += struct.pack("<I", len(value)) + value
        else:
            body += struct.pack(FORMATS[kind], value)
    return struct.pack("<IHBB", len(body) + 8, NUMBERS[name], 1, 0) + body


def unpack(data):
    number = struct.unpack_from("<H", data, 4)[0]
    name, fields = ROWS[number]
    at, values = 8, {}
    for kind, field in fields:
        if kind == "STR":
            n = struct.unpack_from("<I", data, at)[0]
            values[field] = data[at + 4:at + 4 + n]
            at += 4 + n
        else:
            values[field] = struct.unpack_from(FORMATS[kind], data, at)[0]
            at += struct.calcsize(FORMATS[kind])
    assert at == len(data)
    return name, values


class Link(threading.Thread):
    """Our end of a link: every frame goes to `handle(link, name, values)`, credit to `credit(bytes)`."""

    def __init__(self, sock, handle, credit=None):
        super().__init__(daemon=True)
        self.sock, self.handle, self.credit, self.lock = sock, handle, credit, threading.Lock()
        self.start()

    def send(self, name, /, **values):
        with self.lock:
            self.sock.sendall(pack(name, **values))

    def grant(self, n):
        try:
            self.send("credit", bytes=n)
        except OSError:
            pass  # the other side has said its last words, and these are read all the same

    def run(self):
        data = b""
        try:
            while True:
                piece = self.sock.recv(1 << 16)
                if not piece:
                    return
                data += piece
                while len(data) >= 8 and len(data) >= struct.unpack_from("<I", data)[0]:
                    n = struct.unpack_from("<I", data)[0]
                    name, values = unpack(data[:n])
                    data = data[n:]
                    if name != "credit":
                        self.grant(n)
                        self.handle(self, name, values)
                    elif self.credit:
                        self.credit(values["bytes"])
        except OSError:
            pass

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

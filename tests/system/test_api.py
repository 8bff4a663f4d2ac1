"""The REST API, the views and the websocket, against a whole sandbox: exact shapes, texts, statuses and bytes."""
import functools
import gzip
import http.client
import json
import os
import re
import socket
import subprocess
import time
from email.message import EmailMessage

import pytest
import websocket

from conftest import PENFOLD, ROOT, Penfold, Smtp, wait_until

ROW = {"ID", "MessageID", "Read", "From", "To", "Cc", "Bcc", "ReplyTo", "Subject", "Created", "Username", "Tags", "Size", "Attachments", "Snippet"}
LIST = {"total", "unread", "count", "messages_count", "messages_unread", "start", "tags", "messages"}
MESSAGE = {"ID", "MessageID", "From", "To", "Cc", "Bcc", "ReplyTo", "ReturnPath", "Subject", "ListUnsubscribe", "Date", "Tags", "Username", "Text",
           "HTML", "Size", "Inline", "Attachments"}
ATTACHMENT = {"PartID", "FileName", "ContentType", "ContentID", "Size", "Checksums"}
INFO = {"Version", "LatestVersion", "Database", "DatabaseSize", "Messages", "Unread", "Tags", "RuntimeStats"}
RUNTIME = {"Uptime", "Memory", "MessagesDeleted", "SMTPAccepted", "SMTPAcceptedSize", "SMTPRejected", "SMTPIgnored"}
WEBUI = {"Label", "MessageRelay", "SpamAssassin", "ChaosEnabled", "DuplicatesIgnored", "HideDeleteAllButton"}
RELAY = {"Enabled", "SMTPServer", "ReturnPath", "AllowedRecipients", "BlockedRecipients", "OverrideFrom", "PreserveMessageIDs", "RecipientAllowlist"}
ENVELOPE = {"ID", "Session", "Listener", "Protocol", "ClientAddress", "ClientPort", "ServerAddress", "ServerPort", "ProxyAddress", "Helo", "AuthUser",
            "AuthMechanism", "TLSVersion", "TLSCipher", "TLSServerName", "Sender", "SenderParams", "Connected", "Mail", "Rcpt", "Data", "Received",
            "BareCR", "BareLF", "NUL", "LongLines", "EightBit", "Transaction", "Chunking", "Handshake", "Xclient", "Recipients"}
OF_SESSION = {"Listener", "Protocol", "ClientAddress", "ClientPort", "ServerAddress", "ServerPort", "ProxyAddress", "Helo", "AuthUser", "AuthMechanism",
              "TLSVersion", "TLSCipher", "TLSServerName", "Connected", "Handshake", "Xclient"}
SESSION = OF_SESSION | {"ID", "Started", "Ended", "Reason", "Messages", "Transcript"}
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082")


def call(p, path, method="GET", body=None, headers=None):
    """(status, headers, body), whatever the status."""
    c = http.client.HTTPConnection("127.0.0.1", p.http, timeout=30)
    try:
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        c.request(method, path, body=data, headers=headers or {})
        r = c.getresponse()
        return r.status, dict(r.getheaders()), r.read()
    finally:
        c.close()


def talk(p, data, limit=20):
    """Raw bytes in, everything that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", p.http), timeout=limit) as s:
        s.sendall(data)
        out = b""
        while piece := s.recv(65536):
            out += piece
        return out


def send(p, body, sender="a@example.com", to=("b@example.com",)):
    """The very bytes, by BDAT; returns the message's id."""
    s = Smtp(p.smtp)
    s.cmd("EHLO client.example")
    assert s.cmd(f"MAIL FROM:<{sender}> BODY=BINARYMIME").startswith("250")
    for rcpt in to:
        assert s.cmd(f"RCPT TO:<{rcpt}>").startswith("250")
    s.send(f"BDAT {len(body)} LAST\r\n".encode() + body)
    reply = s.reply()
    s.cmd("QUIT")
    s.close()
    assert reply.startswith("250"), reply
    return reply.rsplit(" ", 1)[1]


@functools.cache  # its boundaries are random
def rich():
    m = EmailMessage()
    m["From"] = "Änn <ann@example.com>"
    m["To"] = "Bob <bob@example.com>"
    m["Cc"] = "Cy <cy@example.com>"
    m["Reply-To"] = "re@example.com"
    m["Subject"] = "Grüße ✓"
    m["Date"] = "Mon, 23 Nov 2026 06:13:31 +0100"
    m["Message-ID"] = "<rich@example.com>"
    m["List-Unsubscribe"] = "<mailto:u@example.com>, <https://example.com/u>"
    m.set_content("hello text\n")
    m.add_alternative('<p style="text-align:center">Hi <img src="cid:dot"></p>', subtype="html")
    m.get_payload()[1].add_related(PNG, "image", "png", cid="<dot>", filename="dot.png", disposition="inline")
    m.add_attachment(b"%PDF" * 1000, maintype="application", subtype="pdf", filename="réport.pdf")
    return m.as_bytes().replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def mail(sandbox):
    """The id of a rich message."""
    return send(sandbox, rich(), to=("bob@example.com", "cy@example.com", "hidden@example.com"))


# ---- shapes ----

def test_info(sandbox, mail):
    info = sandbox.api("/api/v1/info")
    assert set(info) == INFO and set(info["RuntimeStats"]) == RUNTIME
    assert info["Messages"] >= 1 and info["Tags"] == {} and info["DatabaseSize"] > 0
    assert info["Database"] == os.path.join(sandbox.data, "penfold.db")
    assert info["RuntimeStats"]["SMTPAccepted"] >= 1


def test_webui_and_tags(sandbox):
    webui = sandbox.api("/api/v1/webui")
    assert set(webui) == WEBUI and set(webui["MessageRelay"]) == RELAY and not webui["MessageRelay"]["Enabled"]
    assert sandbox.api("/api/v1/tags") == []


def test_list_row(sandbox, mail):
    page = sandbox.messages()
    assert set(page) == LIST and page["tags"] == [] and page["start"] == 0
    row = next(m for m in page["messages"] if m["ID"] == mail)
    assert set(row) == ROW
    assert row["From"] == {"Name": "Änn", "Address": "ann@example.com"}
    assert row["To"] == [{"Name": "Bob", "Address": "bob@example.com"}] and row["Cc"] == [{"Name": "Cy", "Address": "cy@example.com"}]
    assert row["ReplyTo"] == [{"Name": "", "Address": "re@example.com"}] and row["MessageID"] == "rich@example.com"
    assert row["Bcc"] == [{"Name": "", "Address": "hidden@example.com"}]
    assert row["Subject"] == "Grüße ✓" and row["Attachments"] == 1 and row["Snippet"] == "hello text" and row["Tags"] == []
    assert row["Size"] == len(rich()) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", row["Created"])


def test_message(sandbox, mail):
    m = sandbox.api(f"/api/v1/message/{mail}")
    assert set(m) == MESSAGE
    assert m["ID"] == mail and m["Size"] == len(rich()) and m["Tags"] == [] and m["ReturnPath"] == "a@example.com"
    assert m["Text"].strip() == "hello text" and 'src="cid:dot"' in m["HTML"]
    assert set(m["ListUnsubscribe"]) == {"Header", "Links", "Errors", "HeaderPost"}
    assert m["ListUnsubscribe"]["Links"] == ["mailto:u@example.com", "https://example.com/u"]
    assert len(m["Inline"]) == 1 and len(m["Attachments"]) == 1
    for a in m["Inline"] + m["Attachments"]:
        assert set(a) == ATTACHMENT and set(a["Checksums"]) == {"MD5", "SHA1", "SHA256"}
    assert m["Inline"][0]["ContentID"] == "dot" and m["Attachments"][0]["FileName"] == "réport.pdf"
    assert m["Date"].startswith("2026-11-23T06:13:31") and m["Date"].endswith("+01:00")
    row = next(r for r in sandbox.messages(limit=0)["messages"] if r["ID"] == mail)
    assert row["Read"], "reading a message marks it read"


def test_headers(sandbox, mail):
    headers = sandbox.api(f"/api/v1/message/{mail}/headers")
    assert headers["Message-Id"] == ["<rich@example.com>"] and headers["Mime-Version"] == ["1.0"]
    assert headers["Subject"][0].startswith("=?utf-8?") and all(isinstance(v, list) for v in headers.values())
    assert list(headers) == list(dict.fromkeys(re.findall(r"^[\w-]+(?=:)", rich().decode().split("\r\n\r\n")[0].title(), re.M)))


def test_part(sandbox, mail):
    m = sandbox.api(f"/api/v1/message/{mail}")
    status, headers, body = call(sandbox, f"/api/v1/message/{mail}/part/{m['Attachments'][0]['PartID']}")
    assert (status, headers["Content-Type"], body) == (200, "application/pdf", b"%PDF" * 1000)
    assert headers["Content-Disposition"] == 'inline; filename="r%C3%A9port.pdf"'
    assert headers["Content-Security-Policy"].startswith("sandbox")
    status, headers, body = call(sandbox, f"/api/v1/message/latest/part/{m['Inline'][0]['PartID']}?dl=1")
    assert (status, headers["Content-Type"], body) == (200, "image/png", PNG)
    assert headers["Content-Disposition"] == 'attachment; filename="dot.png"'
    assert call(sandbox, f"/api/v1/message/{mail}/part/9.9")[0] == 404


def test_structure(sandbox, mail):
    s = sandbox.api(f"/api/v1/message/{mail}/structure")
    raw = sandbox.raw(mail)
    assert s["Size"] == len(raw)
    leaf = s["Parts"][0]["Parts"][0]["Parts"][0]
    assert leaf["ContentType"] == "text/plain"
    assert raw[leaf["BodyOffset"]:leaf["BodyOffset"] + leaf["BodySize"]] == b"hello text\r\n"


ENVELOPE |= {"Priority", "HoldUntil", "DeliverBy", "DeliverByMode", "RequireTLS", "Utf8", "Edits", "EditedSize", "ReportOf", "ReportRcpts",
             "ReportKind", "Account", "Binary", "Appended", "AppendFlags", "AppendDate"}


def test_envelope_and_session(sandbox, mail):
    e = sandbox.api(f"/api/v1/message/{mail}/envelope")
    assert set(e) == ENVELOPE
    assert e["ID"] == mail and e["Sender"] == "a@example.com" and e["SenderParams"] == "BODY=BINARYMIME" and e["Helo"] == "client.example"
    assert [r["Address"] for r in e["Recipients"]] == ["bob@example.com", "cy@example.com", "hidden@example.com"]
    assert all(set(r) == {"Address", "Params"} for r in e["Recipients"])
    assert e["Chunking"] is True and e["Handshake"] is None and e["ClientAddress"] == "127.0.0.1"
    assert e["Connected"] <= e["Mail"] <= e["Rcpt"] <= e["Data"] <= e["Received"]
    s = wait_until(lambda: (lambda v: v if v["Ended"] else None)(sandbox.api(f"/api/v1/message/{mail}/session")), what="the session's end")
    assert set(s) == SESSION
    assert s["ID"] == e["Session"] and s["Messages"] == [mail] and s["Started"] <= s["Ended"]
    assert "MAIL FROM:<a@example.com> BODY=BINARYMIME" in s["Transcript"] and mail in s["Transcript"]
    assert sandbox.api(f"/api/v1/session/{s['ID']}") == s


def test_no_such_session(sandbox):
    assert call(sandbox, "/api/v1/session/0123456789012345678901")[0] == 404
    assert call(sandbox, "/api/v1/session/latest")[0] == 404


def test_views(sandbox, mail):
    status, headers, body = call(sandbox, f"/view/{mail}.html")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert f"../api/v1/message/{mail}/part/".encode() in body and b"text-align:center" in body
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("sandbox ") and "default-src 'none'" in policy and "img-src 'self' data:" in policy
    assert "allow-scripts" not in policy and "script-src" not in policy and "allow-same-origin" not in policy
    assert "img-src * data:" in call(sandbox, f"/view/{mail}.html?remote=1")[1]["Content-Security-Policy"]
    status, headers, body = call(sandbox, f"/view/{mail}.txt")
    assert (status, headers["Content-Type"], body.strip()) == (200, "text/plain; charset=utf-8", b"hello text")
    assert call(sandbox, f"//view/{mail}.txt")[0] == 200  # some clients double the slash
    assert call(sandbox, "/view/latest.txt")[0] == 200


def test_latest(sandbox):
    ident = send(sandbox, b"Subject: newest\r\n\r\nx\r\n")
    assert sandbox.api("/api/v1/message/latest")["ID"] == ident
    assert call(sandbox, "/api/v1/message/latest/raw?dl=1")[1]["Content-Disposition"] == f'attachment; filename="{ident}.eml"'
    status, headers, _ = call(sandbox, "/view/latest")
    assert (status, headers["Location"]) == (302, f"/view/{ident}")
    assert call(sandbox, f"/view/{ident}.html")[::2] == (404, b"This message does not contain a HTML part")


# ---- bytes ----

UGLY = {
    "empty": b"",
    "only a line end": b"\r\n",
    "no header": b"\r\njust text\r\n",
    "no body": b"Subject: x\r\n",
    "no last line end": b"Subject: x\r\n\r\nabc",
    "bare lf": b"Subject: x\n\nline\nline\n",
    "bare cr": b"Subject: x\r\rline\rline\r",
    "mixed": b"Subject: x\r\n\r\na\rb\nc\r\r\nd\n\r",
    "nul": b"Subject: a\0b\r\n\r\n\0\0\0\r\n",
    "dots": b"Subject: x\r\n\r\n.\r\n..\r\n...\r\n.\n.\r.\r\n",
    "all bytes": b"Subject: x\r\n\r\n" + bytes(range(256)) * 5,
    "long line": b"Subject: " + b"x" * 100_000 + b"\r\n\r\n" + b"y" * 300_000,
    "bad encoded words": b"Subject: =?utf-8?B?////?= =?x?Q?=?=\r\nFrom: \xff\xfe <a@b\r\nTo: ;;,,:;\r\n\r\nx",
    "bad multipart": b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n--x\r\n--x--\r\n--x\r\n",
    "no boundary": b"Content-Type: multipart/mixed\r\n\r\n--\r\n",
    "deep": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(200)) + b"\r\nx",
    "bad base64": b"Content-Transfer-Encoding: base64\r\n\r\n====!!!!\xff\r\nQUJ\r\n",
    "bad charset": b"Content-Type: text/plain; charset=nonsense\r\n\r\n\xe4\xf6\xfc",
    "many fields": b"X: y\r\n" * 3000 + b"\r\n",
    "utf-16 html": b"Content-Type: text/html; charset=utf-16\r\n\r\n" + "<p>ü</p>".encode("utf-16"),
}


@pytest.mark.parametrize("name", UGLY)
def test_raw_is_what_arrived(sandbox, name):
    body = UGLY[name]
    ident = send(sandbox, body)
    status, headers, raw = call(sandbox, f"/api/v1/message/{ident}/raw")
    assert status == 200 and raw == body and headers["Content-Type"] == "text/plain; charset=utf-8" and headers["Content-Length"] == str(len(body))
    assert gzip.decompress(call(sandbox, f"/api/v1/message/{ident}/raw", headers={"Accept-Encoding": "gzip"})[2]) == body if len(body) >= 1024 else True
    m = sandbox.api(f"/api/v1/message/{ident}")
    assert set(m) == MESSAGE and m["Size"] == len(body)
    row = next(r for r in sandbox.messages(limit=0)["messages"] if r["ID"] == ident)
    assert set(row) == ROW and m["Subject"].startswith(row["Subject"]) and bool(m["Subject"]) == bool(row["Subject"])
    for path in (f"/api/v1/message/{ident}/headers", f"/api/v1/message/{ident}/structure", f"/api/v1/message/{ident}/envelope"):
        assert isinstance(sandbox.api(path), dict)
    assert call(sandbox, f"/view/{ident}.txt")[0] == 200
    assert call(sandbox, f"/view/{ident}.html")[0] in (200, 404)


def test_row_of_a_message_to_many(sandbox):
    everybody = [f"{n:04}-{'x' * 40}@example.com" for n in range(900)]
    ident = send(sandbox, b"Subject: many\r\nTo: " + b",\r\n ".join(a.encode() for a in everybody) + b"\r\n\r\n", to=everybody)
    row = sandbox.messages(limit=1)["messages"][0]
    assert row["ID"] == ident and row["Subject"] == "many" and 1 <= len(row["To"]) < 900
    assert len(sandbox.api(f"/api/v1/message/{ident}")["To"]) == 900
    assert len(sandbox.api(f"/api/v1/message/{ident}/envelope")["Recipients"]) == 900


def test_big_part(sandbox):
    data = os.urandom(1 << 20) * 10
    m = EmailMessage()
    m["Subject"] = "big"
    m.set_content("see file\n")
    m.add_attachment(data, maintype="application", subtype="octet-stream", filename="big.bin")
    ident = send(sandbox, m.as_bytes().replace(b"\n", b"\r\n"))
    part = sandbox.api(f"/api/v1/message/{ident}")["Attachments"][0]
    assert part["Size"] == len(data)
    status, _, body = call(sandbox, f"/api/v1/message/{ident}/part/{part['PartID']}")
    assert status == 200 and body == data
    assert sandbox.raw(ident) == m.as_bytes().replace(b"\n", b"\r\n")


# ---- methods, errors, encodings ----

@pytest.mark.parametrize("path, status, text", [
    ("/api/v1/message/0123456789012345678901", 404, "404 page not found"),
    ("/api/v1/message/0123456789012345678901/raw", 404, "404 page not found"),
    ("/api/v1/message/nonsense", 404, "404 page not found"),
    ("/api/v1/message/nonsense/headers", 404, "404 page not found"),
    ("/view/0123456789012345678901.html", 404, "Message not found"),
    ("/view/0123456789012345678901.txt", 404, "Message not found"),
    ("/api/v1/search?query=x", 404, "404 page not found"),
    ("/api/v1/chaos", 404, "404 page not found"),
    ("/api/v1", 404, "404 page not found"),
    ("/nothing", 404, "404 page not found"),
    ("/api/v1/message/", 404, "404 page not found"),
    ("/../etc/passwd", 404, "404 page not found"),
])
def test_not_found(sandbox, path, status, text):
    got, headers, body = call(sandbox, path)
    assert (got, body.decode()) == (status, text) and headers["Content-Type"] == "text/plain; charset=utf-8"


def test_methods(sandbox, mail):
    status, headers, body = call(sandbox, "/api/v1/messages", "POST", body=b"{}")
    assert (status, headers["Allow"], body) == (405, "GET, HEAD, PUT, DELETE", b"Method Not Allowed")
    assert call(sandbox, "/api/v1/info", "DELETE")[1]["Allow"] == "GET, HEAD"
    assert call(sandbox, "/api/v1/info", "BREW")[0] == 405
    assert call(sandbox, "/nothing", "DELETE")[0] == 404


@pytest.mark.parametrize("path", ["/api/v1/info", "/api/v1/messages", "/api/v1/message/{}", "/api/v1/message/{}/raw", "/view/{}.html", "/", "/livez",
                                  "/api/v1/message/{}/session"])
def test_head(sandbox, mail, path):
    path = path.format(mail)
    status, headers, body = call(sandbox, path, "HEAD")
    assert status == 200 and body == b""
    assert headers["Content-Type"] == call(sandbox, path)[1]["Content-Type"]
    both = f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert talk(sandbox, both.encode()).count(b"HTTP/1.1 200 OK\r\n") == 2, "a HEAD has no body that could be taken for an answer"


def test_gzip(sandbox, mail):
    for path in ("/api/v1/messages?limit=0", f"/api/v1/message/{mail}", f"/view/{mail}.html", "/"):
        plain = call(sandbox, path)
        packed = call(sandbox, path, headers={"Accept-Encoding": "br, gzip"})
        assert "Content-Encoding" not in plain[1]
        if packed[1].get("Content-Encoding") == "gzip":
            assert gzip.decompress(packed[2]) == plain[2]
        else:
            assert len(plain[2]) < 1024
    assert "Content-Encoding" not in call(sandbox, "/", headers={"Accept-Encoding": "gzip;q=0"})[1]


def test_page_and_assets(sandbox, mail):
    status, headers, page = call(sandbox, "/")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8" and headers["Cache-Control"] == "no-cache"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert call(sandbox, f"/view/{mail}")[2] == page
    assert call(sandbox, "/", headers={"If-None-Match": headers["ETag"]})[0] == 304
    for asset in re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css|svg))"', page.decode()):
        status, headers, body = call(sandbox, asset)
        assert status == 200 and body
        assert "immutable" in headers["Cache-Control"] or asset == "/favicon.svg"


def test_headers_of_every_answer(sandbox, mail):
    for path in ("/", "/api/v1/info", "/nothing", f"/api/v1/message/{mail}/raw", f"/view/{mail}.html", "/livez"):
        headers = call(sandbox, path)[1]
        assert headers["Referrer-Policy"] == "no-referrer" and headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"] and "Cross-Origin-Resource-Policy" in headers


# ---- who may ask ----

def test_cors(sandbox, mail):
    own, other = {"Origin": f"http://127.0.0.1:{sandbox.http}"}, {"Origin": "http://evil.example"}
    status, headers, _ = call(sandbox, "/api/v1/info", headers=own)
    assert status == 200 and headers["Access-Control-Allow-Origin"] == own["Origin"]
    assert headers["Access-Control-Allow-Methods"] == "GET, POST, DELETE, PUT, OPTIONS" and headers["Access-Control-Allow-Headers"] == "*"
    for path, method in (("/api/v1/info", "GET"), ("/api/v1/messages", "DELETE"), (f"/view/{mail}.html", "GET"), ("/api/events", "GET"),
                         ("/api/v1/messages", "OPTIONS")):
        status, _, body = call(sandbox, path, method, headers=other)
        assert (status, body) == (403, b"Blocked due to CORS violation")
    assert call(sandbox, "/api/v1/messages", "DELETE", headers={"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert call(sandbox, "/api/v1/messages", "DELETE", headers={"Origin": "null"})[0] == 403
    assert sandbox.messages()["total"] > 0
    part = f"/api/v1/message/{{}}/part/{sandbox.api(f'/api/v1/message/{mail}')['Inline'][0]['PartID']}"
    status, headers, _ = call(sandbox, part.format(mail), headers={"Origin": "null"})  # from the sandboxed HTML of this mail
    assert status == 200 and headers["Cross-Origin-Resource-Policy"] == "cross-origin" and "Access-Control-Allow-Origin" not in headers
    assert call(sandbox, part.format("latest"), headers={"Origin": "null"})[0] == 403
    assert call(sandbox, part.format(mail), headers=other)[0] == 403
    status, headers, body = call(sandbox, "/api/v1/messages", "OPTIONS", headers=own)
    assert (status, body) == (200, b"")


@pytest.mark.parametrize("host, status", [("localhost", 200), ("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:8025", 200), ("a.localhost", 200),
                                          (socket.gethostname(), 200), ("evil.example", 400), ("127.0.0.1.evil.example", 400), ("", 400)])
def test_host(sandbox, host, status):
    answer = talk(sandbox, f"GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_http_hosts_setting(penfold):
    p = penfold("--http-hosts", "mail.example, other.example")
    ask = lambda host: talk(p, b"GET /livez HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")[9:12]
    assert [ask(h) for h in (b"mail.example", b"Other.Example:80", b"third.example")] == [b"200", b"200", b"400"]


def test_unix_socket(tmp_path):
    path = str(tmp_path / "http")

    def ask(host):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(path)
            s.sendall(b"GET /livez HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
            return s.recv(4096)

    def ready():
        try:
            return ask(b"localhost").startswith(b"HTTP/1.1 200 OK")
        except OSError:
            return False

    p = Penfold(tmp_path / "data", ("--http", "unix:" + path))
    p.ready = ready
    p.start()
    try:
        assert ask(b"anything.example").startswith(b"HTTP/1.1 200 OK")
    finally:
        p.stop()


def test_every_route_is_documented():
    rows = re.findall(r'^ROUTE\(\w+, "([^"]+)"', open(os.path.join(ROOT, "src/web/routes.def")).read(), re.M)
    text = open(os.path.join(ROOT, "docs/api.md")).read()
    assert len(rows) > 20 and [r for r in rows if r not in text] == []


# ---- changes ----

def events(p):
    ws = websocket.create_connection(f"ws://127.0.0.1:{p.http}/api/events", timeout=20)
    return ws


def until(ws, wanted, limit=20):
    """The next event of that type, and everything before it."""
    seen, end = [], time.monotonic() + limit
    while time.monotonic() < end:
        e = json.loads(ws.recv())
        assert set(e) == {"Type", "Data"}
        seen.append(e)
        if e["Type"] == wanted:
            return e["Data"], seen
    raise AssertionError(f"no {wanted} event: {seen}")


def test_events_and_changes(penfold):
    p = penfold()
    ws = events(p)
    stats, _ = until(ws, "stats")
    assert stats == {"Total": 0, "Unread": 0, "Version": p.api("/api/v1/info")["Version"]}

    ids = [send(p, b"Subject: %d\r\n\r\nx\r\n" % n) for n in range(3)]
    new = [until(ws, "new")[0] for _ in ids]
    assert [m["ID"] for m in new] == ids and [m["Subject"] for m in new] == ["0", "1", "2"]
    assert all(set(m) == ROW and m["Read"] is False for m in new)
    assert until(ws, "stats")[0]["Total"] == 3

    assert call(p, "/api/v1/messages", "PUT", {"IDs": [ids[0]], "Read": True})[::2] == (200, b"ok")
    assert until(ws, "update")[0] == {"ID": ids[0], "Read": True}
    assert until(ws, "stats")[0]["Unread"] == 2
    p.api(f"/api/v1/message/{ids[1]}")
    assert until(ws, "update")[0] == {"ID": ids[1], "Read": True}
    assert call(p, "/api/v1/messages", "PUT", {"ids": [ids[1]], "READ": False})[::2] == (200, b"ok")  # keys in any case
    assert until(ws, "update")[0] == {"ID": ids[1], "Read": False}
    assert call(p, "/api/v1/messages", "PUT", {"Read": True})[::2] == (200, b"ok")
    assert p.messages()["unread"] == 0
    assert call(p, "/api/v1/messages", "PUT", b"")[::2] == (200, b"ok")
    assert p.messages()["unread"] == 3

    assert call(p, "/api/v1/messages", "DELETE", {"IDs": [ids[0], "unknown", "0123456789012345678901"]})[::2] == (200, b"ok")
    assert until(ws, "delete")[0] == {"ID": ids[0]}
    assert p.messages()["total"] == 2 and call(p, f"/api/v1/message/{ids[0]}")[0] == 404
    assert call(p, "/api/v1/messages", "DELETE", {"IDs": ["unknown"]})[0] == 200
    assert p.messages()["total"] == 2, "ids that are nobody's must not mean everybody's"
    assert call(p, "/api/v1/messages", "DELETE")[::2] == (200, b"ok")
    assert until(ws, "truncate")[0] is None
    assert until(ws, "stats")[0]["Total"] == 0
    assert p.messages()["total"] == 0 and p.messages()["messages"] == []
    for path in ("", "/raw", "/headers"):
        assert call(p, "/api/v1/message/latest" + path)[::2] == (404, b"Message not found")
    assert call(p, "/view/latest")[1]["Location"] == "/"
    ws.close()


@pytest.mark.parametrize("method, body, text", [
    ("PUT", b"{", "the body is not JSON"),
    ("DELETE", b"{IDs:[]}", "the body is not JSON"),
    ("DELETE", b"[]", "the body must be a JSON object"),
    ("DELETE", b'{"IDs":"x"}', "IDs must be a list of strings"),
    ("DELETE", b'{"IDs":[1]}', "IDs must be a list of strings"),
    ("PUT", b'{"Read":1}', "Read must be true or false"),
    ("PUT", b'{"IDs":["0123456789012345678901"],"Search":"x"}', "You may specify either IDs or a search query, not both"),
    ("PUT", b"[" * 100_000, "the body is not JSON"),
])
def test_bad_bodies_change_nothing(sandbox, mail, method, body, text):
    before = sandbox.messages()
    status, headers, said = call(sandbox, "/api/v1/messages", method, body)
    assert status == 400 and said.decode().startswith(text) and headers["Content-Type"] == "text/plain; charset=utf-8"
    assert sandbox.messages() == before


def test_paging(penfold):
    p = penfold()
    ids = [send(p, b"Subject: %d\r\n\r\n" % n) for n in range(7)][::-1]
    assert [m["ID"] for m in p.messages()["messages"]] == ids
    page = p.messages(start=2, limit=3)
    assert [m["ID"] for m in page["messages"]] == ids[2:5] and (page["total"], page["count"], page["start"]) == (7, 3, 2)
    assert len(p.messages(limit=0)["messages"]) == 7
    assert p.messages(start=99)["messages"] == []
    assert p.messages(start="x", limit="y")["count"] == 7
    middle = p.messages()["messages"][3]["Created"]
    assert p.messages(before=middle[:19])["count"] <= 7
    assert p.messages(before="2000-01-01")["count"] == 0


def test_websocket_is_strict(sandbox):
    def ask(more):
        return talk(sandbox, b"GET /api/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + more + b"\r\n")
    assert ask(b"").startswith(b"HTTP/1.1 426")
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    assert ask(upgrade + b"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n").startswith(b"HTTP/1.1 426")
    assert ask(upgrade + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n").startswith(b"HTTP/1.1 400")
    ws = events(sandbox)
    ws.send("ignored")
    ws.ping("x")
    until(ws, "stats")
    ws.close()
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(f"ws://127.0.0.1:{sandbox.http}/api/events", timeout=10, origin="http://evil.example")


def test_metrics_and_health(sandbox, mail):
    status, headers, body = call(sandbox, "/metrics")
    text = body.decode()
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert re.search(r"^penfold_messages \d+$", text, re.M)
    wait_until(lambda: re.search(r'^penfold_events_total\{event="smtp_accepted"\} [1-9]', call(sandbox, "/metrics")[2].decode(), re.M), what="the sums")
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) .+|[a-z_]+(\{[a-z]+="[^"]*"\})? \d+(\.\d+)?', line), line
    assert call(sandbox, "/livez")[0] == call(sandbox, "/readyz")[0] == 200


# ---- the command line ----

def penfold(*args, **env):
    p = subprocess.run([PENFOLD, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, env=dict(os.environ, **env))
    return p.returncode, p.stdout, p.stderr.decode()


def test_list_command(sandbox, mail):
    url = sandbox.url("/")
    status, out, _ = penfold("list", "--url", url, "--limit", "0")
    assert status == 0
    row = next(line for line in out.decode().splitlines() if line.startswith(mail)).split("\t")
    assert row[2:] == ["ann@example.com", "bob@example.com", "Grüße ✓"]
    assert json.loads(penfold("list", "--json", PENFOLD_URL=url)[1])["total"] >= 1
    assert len(penfold("list", "--url", url, "--limit", "1")[1].splitlines()) == 1


def test_list_is_safe_for_a_terminal(sandbox):
    send(sandbox, b"Subject: =?utf-8?Q?a=1B[2Jb=0Ac?=\r\n\r\n")
    assert b"\x1b" not in penfold("list", "--url", sandbox.url(""))[1]


def test_show_command(sandbox, mail):
    url = sandbox.url("")
    show = lambda *more: penfold("show", mail, "--url", url, *more)
    assert show("--raw")[:2] == (0, rich())
    assert "Subject:" in show()[1].decode() and "hello text" in show()[1].decode()
    assert "MAIL FROM:<a@example.com>" in show("--session")[1].decode()
    assert "Message-Id: <rich@example.com>" in show("--headers")[1].decode()
    assert show("--text")[1].strip() == b"hello text" and b"<p" in show("--html")[1]
    assert json.loads(show("--json")[1])["ID"] == mail


@pytest.mark.parametrize("args, status, said", [
    (("list", "--url", "http://127.0.0.1:1"), 69, "no Penfold answers at http://127.0.0.1:1: start one with `penfold sandbox`, or name another with --url"),
    (("show", "latest", "--url", "http://127.0.0.1:1"), 69, "no Penfold answers"),
    (("list", "--url", "nonsense"), 64, "not an http or https address"),
    (("list", "--url", "file:///etc/passwd"), 64, "not an http or https address"),
    (("show", "x"), 64, "not the id of a message"),
    (("show", "latest", "--raw", "--text"), 64, "one view at a time"),
    (("list", "--limit", "x"), 64, "--limit"),
])
def test_commands_say_what_is_wrong(args, status, said):
    got, out, err = penfold(*args)
    assert got == status and said in err and out == b""


def test_show_what_is_not_there(sandbox):
    got, _, err = penfold("show", "0123456789012345678901", "--url", sandbox.url(""))
    assert got == 69 and "there is no message 0123456789012345678901" in err

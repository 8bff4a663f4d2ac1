"""Webhook routes: what is posted, how it is signed, what becomes of the answers, and receivers that do not behave."""
import base64
import datetime
import hashlib
import hmac
import http.server
import json
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

import dns
from conftest import ROOT, Penfold, free_port, wait_until
from receiver import certificate
from test_two_servers import Server

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
MESSAGE = ("Date: Wed, 25 Nov 2026 10:00:00 +0100\r\nFrom: \"Ada L.\" <ada@a.example>\r\nTo: Orders <orders@a.example>, b@b.example\r\n"
           "Message-ID: <1@a.example>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= \"quoted\"\r\n\r\nHello.\r\n.a dot\r\n" + "Grüße\r\n").encode()


class Hook:
    """A receiver.  `answers` are used up one by one, the last one stays: (status, body, headers), or a function of the handler."""

    def __init__(self, *answers, tls=None, host="127.0.0.1"):
        self.answers, self.posts, self.connections, hook = list(answers) or [(200, b"", {})], [], set(), self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                hook.take(self)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        class Threads(http.server.ThreadingHTTPServer):
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

            def handle_error(self, *_):
                pass

        self.server = Threads((host, 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"] or 0))
        post = SimpleNamespace(method=handler.command, path=handler.path, headers=handler.headers, body=body, peer=handler.client_address)
        self.connections.add(handler.client_address)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        self.posts.append(post)
        if callable(answer):
            answer(handler)
            return
        status, text, headers = answer
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def wait(self, count=1):
        wait_until(lambda: len(self.posts) >= count, 20, f"{count} posts; there are {len(self.posts)}")
        return self.posts[count - 1]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def verify(headers, body, key=KEY):
    """As standardwebhooks.com says; what docs/routing.md shows."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mine = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(mine, one) for one in headers["webhook-signature"].split(" "))


@pytest.fixture
def hook():
    made = []

    def start(*answers, **more):
        made.append(Hook(*answers, **more))
        return made[-1]

    yield start
    for h in made:
        h.close()


def route(url, more="", secret=True):
    return f"route hook {{\n  to orders@a.example\n  action webhook\n  url {url}\n{'  secret_file hook.secret' if secret else ''}\n{more}\n}}\n"


@pytest.fixture
def server(tmp_path):
    """A function that starts a server with a route to a webhook; sender and postmaster are ada."""
    running = []

    def start(text, names=None, env=None):
        os.chmod(tmp_path, 0o755)
        s = Server(tmp_path, "a", free_port(), names or SimpleNamespace(address="127.0.0.1:9"),
                   more="queue_retry 1s\nqueue_expire 1m\n" + text)
        (s.dir / "hook.secret").write_text(SECRET + "\n")
        s.env.update({"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}, **(env or {}))
        running.append(s.start())
        s.account("ada")
        return s

    yield start
    for s in running:
        assert s.stop() == 0


def post(s, to="orders@a.example", message=MESSAGE):
    return s.submit("ada", to, message)


def attempts(s, mail):
    return s.story(mail)["Attempts"]


def settled(s, mail, state):
    """The recipient, once it has come to that state."""
    def look():
        rows = [r for r in s.story(mail)["Queue"] if r["State"] == state]
        return rows and rows[0]
    return wait_until(look, 20, f"{state}")


def test_a_message_is_posted_and_signed(server, hook):
    h = hook((200, b"thanks", {}))
    s = server(route(f"http://127.0.0.1:{h.port}/hooks/mail?token=hidden"))
    mail = post(s)
    p = h.wait()
    assert p.method == "POST" and p.path == "/hooks/mail?token=hidden" and p.headers["Content-Type"] == "application/json"
    assert p.headers["webhook-id"] == f"{mail}_0" and abs(int(p.headers["webhook-timestamp"]) - time.time()) < 60
    assert verify(p.headers, p.body) and not verify(p.headers, p.body + b" ") and not verify(p.headers, p.body, b"other")
    event = json.loads(p.body)
    data = event["data"]
    assert event["type"] == "message.received"
    assert abs(datetime.datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00")).timestamp() - time.time()) < 60
    assert data["id"] == mail and data["route"] == "hook" and data["envelope"] == {"from": "ada@a.example", "to": "orders@a.example"}
    assert data["client"]["address"] == "127.0.0.1" and data["client"]["user"].startswith("ada") and data["client"]["tls"] == "TLSv1.3"
    assert data["subject"] == 'Grüße "quoted"' and data["message_id"] == "<1@a.example>" and data["date"] == "2026-11-25T09:00:00Z"
    assert data["from"] == [{"name": "Ada L.", "address": "ada@a.example"}] and data["cc"] == [] and data["reply_to"] == []
    assert data["to"] == [{"name": "Orders", "address": "orders@a.example"}, {"name": "", "address": "b@b.example"}]
    raw = base64.b64decode(data["raw"], validate=True)
    assert raw.endswith(MESSAGE) and raw.startswith(b"Received: ") and len(raw) == data["size"] and data["complete"] is True
    assert settled(s, mail, "delivered")["LastAnswer"] == "2.0.0 the webhook answered 200: thanks"
    (one,) = attempts(s, mail)
    assert (one["Outcome"], one["Code"], one["Host"], one["Address"]) == ("delivered", 250, "127.0.0.1", f"127.0.0.1:{h.port}")
    assert f"* posting to http://127.0.0.1:{h.port}/hooks/mail\n> webhook-id: {mail}_0\n" in one["Transcript"] and "< thanks\n" in one["Transcript"]
    assert "hidden" not in str(s.story(mail))
    assert s.queue() == []


def test_each_recipient_is_an_event_of_its_own(server, hook):
    h = hook()
    s = server(route(f"http://localhost:{h.port}", more="  to orders@a.example more@a.example", secret=False).replace("  to orders@a.example\n", "", 1))
    mail = post(s, ["orders@a.example", "more@a.example"])
    h.wait(2)
    assert sorted(p.headers["webhook-id"] for p in h.posts) == [f"{mail}_0", f"{mail}_1"]
    assert sorted(json.loads(p.body)["data"]["envelope"]["to"] for p in h.posts) == ["more@a.example", "orders@a.example"]
    assert all("webhook-signature" not in p.headers for p in h.posts)
    wait_until(lambda: s.queue() == [], what="the end of both")


def test_busy_now_is_tried_again_with_the_same_id(server, hook):
    h = hook((503, b"one moment", {"Retry-After": "3"}), (429, b"", {}), (200, b"", {}))
    s = server(route(f"http://127.0.0.1:{h.port}/"))
    mail = post(s)
    h.wait(3)
    assert {p.headers["webhook-id"] for p in h.posts} == {f"{mail}_0"} and all(verify(p.headers, p.body) for p in h.posts)
    assert h.posts[0].body == h.posts[2].body
    settled(s, mail, "delivered")
    assert [a["Outcome"] for a in attempts(s, mail)] == ["deferred", "deferred", "delivered"]
    assert attempts(s, mail)[0]["Text"] == "4.3.2 the webhook answered 503 (Retry-After 3): one moment" and attempts(s, mail)[0]["Code"] == 451


def test_what_is_refused_for_good_returns_to_its_sender(server, hook):
    h = hook((400, b"no such order\r\n<b>\x1b[31m" + b"x" * 100000, {}))
    s = server(route(f"http://127.0.0.1:{h.port}/"))
    mail = post(s)
    text = wait_until(lambda: s.inbox("ada"), what="the report")[0].decode()
    assert "Diagnostic-Code: smtp; 554 5.3.0 the webhook answered 400: no such order" in text and "Status: 5.3.0" in text
    assert "Final-Recipient: rfc822; orders@a.example" in text and "\x1b" not in text
    settled(s, mail, "bounced")
    assert len(h.posts) == 1 and len(attempts(s, mail)[0]["Text"]) < 2000 and len(attempts(s, mail)[0]["Transcript"]) < 20000


def test_a_receiver_that_hangs_is_bounded(server, hook):
    h = hook(lambda handler: time.sleep(20), (200, b"", {}))
    s = server(route(f"http://127.0.0.1:{h.port}/", more="  timeout 1s"))
    mail = post(s)
    h.wait(2)
    settled(s, mail, "delivered")
    first = attempts(s, mail)[0]
    assert first["Outcome"] == "unknown" and first["Text"].startswith("4.4.2 the webhook did not answer in time")
    assert h.posts[0].headers["webhook-id"] == h.posts[1].headers["webhook-id"]


def endless(head, piece):
    """An answer that never ends, as fast as it is read."""
    def answer(handler):
        handler.wfile.write(head)
        try:
            while True:
                handler.wfile.write(piece)
        except OSError:
            handler.close_connection = True
    return answer


@pytest.mark.parametrize("head,piece", [(b"HTTP/1.1 200 OK\r\n\r\n", b"y" * 65536), (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000)],
                         ids=["body", "header"])
def test_an_endless_answer_counts_by_its_status(server, hook, head, piece):
    h = hook(endless(head, piece))
    s = server(route(f"http://127.0.0.1:{h.port}/"))
    mail = post(s)
    settled(s, mail, "delivered")
    assert len(h.posts) == 1 and len(attempts(s, mail)[0]["Text"]) < 1000


def raw_answer(data):
    def answer(handler):
        handler.wfile.write(data)
        handler.wfile.flush()
        handler.close_connection = True
    return answer


@pytest.mark.parametrize("data,text", [
    (b"", "4.4.2 the connection to the webhook broke"),
    (b"220 mail.example ESMTP\r\n", "4.5.0 the webhook does not speak HTTP"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500000 + b"\r\n\r\n", "2.0.0 the webhook answered 200"),
    (b"HTTP/1.1 999 what\r\n\r\n", "4.5.0 the webhook answered 999"),
], ids=["nothing", "SMTP", "a long line", "999"])
def test_answers_that_are_none(server, hook, data, text):
    h = hook(raw_answer(data), (200, b"", {}))
    s = server(route(f"http://127.0.0.1:{h.port}/"))
    mail = post(s)
    settled(s, mail, "delivered")
    assert attempts(s, mail)[0]["Text"].startswith(text)


def test_a_redirect_is_not_followed(server, hook):
    other = hook()
    h = hook((307, b"", {"Location": f"http://127.0.0.1:{other.port}/"}), (200, b"", {}))
    s = server(route(f"http://127.0.0.1:{h.port}/"))
    mail = post(s)
    settled(s, mail, "delivered")
    assert attempts(s, mail)[0]["Text"] == "4.3.5 the webhook answered 307, a redirect, which is not followed" and not other.posts


def test_nobody_answers(server):
    port = free_port()
    s = server(route(f"http://127.0.0.1:{port}/"))
    mail = post(s)
    first = wait_until(lambda: attempts(s, mail), what="an attempt")[0]
    assert first["Outcome"] == "deferred" and first["Text"].startswith("4.4.1 the webhook could not be reached: Failed to connect")


def test_a_certificate_has_to_be_good(server, hook, tmp_path):
    h = hook(tls=certificate(tmp_path))
    s = server(route(f"https://localhost:{h.port}/"))
    mail = post(s)
    first = wait_until(lambda: attempts(s, mail), what="an attempt")[0]
    assert first["Outcome"] == "deferred" and first["Text"].startswith("4.7.5 no TLS with the webhook: SSL certificate problem: self")
    assert not h.posts


@pytest.mark.parametrize("host,state", [("localhost", "delivered"), ("127.0.0.1", "delivered"), ("other", "waiting")])
def test_a_good_certificate(server, hook, tmp_path, host, state):
    """The authority is known, and the name is looked at."""
    cert, key = certificate(tmp_path)
    h = hook(tls=(cert, key))
    if host == "other":
        cert, key = certificate(tmp_path, "other.example")
        h = hook(tls=(cert, key))
    s = server(route(f"https://{'localhost' if host == 'other' else host}:{h.port}/"), env={"SSL_CERT_FILE": cert})
    mail = post(s)
    first = wait_until(lambda: attempts(s, mail), what="an attempt")[0]
    assert first["Outcome"] == ("delivered" if state == "delivered" else "deferred"), first
    assert first["TLS"].endswith(" verified") == (state == "delivered")
    assert state == "delivered" or ("4.7.5" in first["Text"] and not h.posts)


def test_a_role_that_dies_while_it_posts(server, hook):
    gate = threading.Event()
    h = hook(lambda handler: gate.wait(20), (200, b"", {}))
    s = server(route(f"http://127.0.0.1:{h.port}/"))
    mail = post(s)
    h.wait()
    os.kill(s.role("filter")[0], signal.SIGKILL)
    h.wait(2)
    gate.set()
    settled(s, mail, "delivered")
    assert [a["Outcome"] for a in attempts(s, mail)] == ["unknown", "delivered"]
    assert h.posts[0].headers["webhook-id"] == h.posts[1].headers["webhook-id"]


def test_a_server_that_is_killed_while_it_posts(server, hook):
    """The intent is on stable storage: the next run knows that it may have been posted."""
    gate = threading.Event()
    h = hook(lambda handler: gate.wait(20), (200, b"", {}))
    s = server(route(f"http://127.0.0.1:{h.port}/"))
    mail = post(s)
    h.wait()
    s.kill()
    s.start()
    h.wait(2)
    gate.set()
    settled(s, mail, "delivered")
    assert "unknown" in [a["Outcome"] for a in attempts(s, mail)]
    assert h.posts[0].headers["webhook-id"] == h.posts[1].headers["webhook-id"]


def test_a_stop_waits_for_the_answer(server, hook):
    gate = threading.Event()

    def slowly(handler):
        gate.wait(20)
        handler.send_response(204)
        handler.end_headers()
    h = hook(slowly)
    s = server(route(f"http://127.0.0.1:{h.port}/"))
    mail = post(s)
    h.wait()
    s.process.send_signal(signal.SIGTERM)
    threading.Timer(1, gate.set).start()
    assert s.process.wait(20) == 0
    s.start()
    settled(s, mail, "delivered")
    assert len(h.posts) == 1 and len(attempts(s, mail)) == 1, attempts(s, mail)


@dns.needs_nsd
def test_names_are_asked_of_the_resolver(server, hook, tmp_path):
    h = hook()
    names = dns.Server(tmp_path, {"shop.example": "@ A 127.0.0.1\nalias CNAME @\n"}, ttl=1)
    try:
        s = server(route(f"http://alias.shop.example:{h.port}/x"), names=names)
        mail = post(s)
        assert h.wait().headers["Host"] == f"alias.shop.example:{h.port}"
        settled(s, mail, "delivered")
        assert "alias.shop.example is an alias of shop.example" in attempts(s, mail)[0]["Transcript"]
    finally:
        names.stop()


@dns.needs_nsd
def test_a_name_that_is_not_there_is_no_reason_to_return_mail(server, tmp_path):
    names = dns.Server(tmp_path, {"shop.example": "@ A 127.0.0.1\n"}, ttl=1)
    try:
        s = server(route("https://hooks.shop.example/x"), names=names)
        mail = post(s)
        first = wait_until(lambda: attempts(s, mail), what="an attempt")[0]
        assert first["Outcome"] == "deferred" and first["Text"].startswith("4.3.5 the server of the route cannot be used")
    finally:
        names.stop()


def test_large_messages(server, hook):
    """Over a window, over a frame; and above post_max only the header goes."""
    h = hook()
    s = server(route(f"http://127.0.0.1:{h.port}/", more="  post_max 3MiB"))
    whole, cut = (MESSAGE + b"0123456789abcde\r\n" * n for n in (160000, 200000))
    post(s, message=whole)
    data = json.loads(h.wait(1).body)["data"]
    assert base64.b64decode(data["raw"]).endswith(whole) and data["complete"] is True
    post(s, message=cut)
    data = json.loads(h.wait(2).body)["data"]
    raw = base64.b64decode(data["raw"])
    assert data["complete"] is False and data["size"] > len(cut) and raw.endswith(b'"quoted"\r\n\r\n') and data["subject"] == 'Grüße "quoted"'


def test_the_message_alone(server, hook):
    h = hook()
    s = server(route(f"http://user:p%40ss@127.0.0.1:{h.port}/", more="  format message\n  post_max 4KiB"))
    post(s)
    p = h.wait(1)
    assert p.headers["Content-Type"] == "message/rfc822" and p.body.endswith(MESSAGE) and verify(p.headers, p.body)
    assert p.headers["Penfold-From"] == "ada@a.example" and p.headers["Penfold-To"] == "orders@a.example"
    assert p.headers["Authorization"] == "Basic " + base64.b64encode(b"user:p@ss").decode()
    post(s, message=MESSAGE + b"x\r\n" * 5000)
    p = h.wait(2)
    assert p.headers["Content-Type"] == "text/rfc822-headers" and p.body.endswith(b"\r\n\r\n") and b"Hello" not in p.body


def test_many_at_once_share_connections(server, hook):
    h = hook()
    s = server(route(f"http://127.0.0.1:{h.port}/"))
    mails = [post(s) for _ in range(40)]
    h.wait(40)
    wait_until(lambda: s.queue() == [], what="the end of all")
    assert {p.headers["webhook-id"] for p in h.posts} == {f"{m}_0" for m in mails} and len(h.connections) <= 20


def test_a_secret_that_is_none_keeps_the_mail(server, hook):
    h = hook()
    s = server(route(f"http://127.0.0.1:{h.port}/"))
    (s.dir / "hook.secret").write_text("whsec_no*base64\n")
    s.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reload" in open(s.log).read(), what="the reload")
    mail = post(s)
    first = wait_until(lambda: attempts(s, mail), what="an attempt")[0]
    assert first["Text"] == "4.3.5 the post cannot be signed: behind whsec_ the secret is no base64" and not h.posts
    (s.dir / "hook.secret").write_text("an old one\n\n" + SECRET + "\n")
    s.process.send_signal(signal.SIGHUP)
    p = h.wait()
    assert verify(p.headers, p.body) and verify(p.headers, p.body, b"an old one")


def test_a_sandbox_has_webhooks_too(tmp_path, hook):
    h = hook((500, b"", {}), (200, b"", {}))
    file = tmp_path / "penfold.conf"
    file.write_text(f"dns 127.0.0.1:9\ndns_anchor none\nqueue_retry 1s\n" + route(f"http://127.0.0.1:{h.port}/", secret=False))
    s = Penfold(tmp_path / "data", ["-c", str(file)]).start()
    try:
        with smtplib.SMTP("127.0.0.1", s.smtp, timeout=20) as c:
            c.sendmail("x@far.example", ["orders@a.example"], MESSAGE)
        h.wait(2)
        assert json.loads(h.posts[1].body)["data"]["client"]["address"] == "127.0.0.1"
    finally:
        assert s.stop() == 0


def test_the_receiver_of_the_guide(server, tmp_path):
    """docs/examples/webhook_receiver.py as it stands: it knows who we are, and turns away who we are not."""
    port, secret = free_port(), tmp_path / "a" / "hook.secret"
    s = server(route(f"http://127.0.0.1:{port}/hooks/mail"))
    receiver = subprocess.Popen([sys.executable, os.path.join(ROOT, "docs", "examples", "webhook_receiver.py"), str(port), str(secret)],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, what="the receiver")
        mail = post(s)
        settled(s, mail, "delivered")
        assert receiver.stdout.readline().startswith('orders@a.example Grüße "quoted" ')
        secret.write_text("whsec_" + base64.b64encode(b"another one").decode())
        s.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload" in open(s.log).read(), what="the reload")
        assert wait_until(lambda: attempts(s, post(s)), what="an attempt")[0]["Text"] == "4.7.8 the webhook answered 401"
    finally:
        receiver.kill()
        receiver.communicate()


def test_a_first_webhook_may_come_by_reload(tmp_path, hook):
    h = hook()
    file = tmp_path / "penfold.conf"
    file.write_text("dns 127.0.0.1:9\ndns_anchor none\n")
    s = Penfold(tmp_path / "data", ["-c", str(file)]).start()
    try:
        assert "filter" not in s.roles() and "resolver" not in s.roles()
        file.write_text(file.read_text() + route(f"http://127.0.0.1:{h.port}/", secret=False))
        s.process.send_signal(signal.SIGHUP)
        assert s.role("filter") and s.role("resolver")
        with smtplib.SMTP("127.0.0.1", s.smtp, timeout=20) as c:
            c.sendmail("x@far.example", ["orders@a.example"], MESSAGE)
        h.wait()
    finally:
        assert s.stop() == 0


def test_ipv6(server, hook):
    try:
        h = hook(host="::1")
    except OSError:
        pytest.skip("no IPv6 here")
    s = server(route(f"http://[::1]:{h.port}/"))
    mail = post(s)
    settled(s, mail, "delivered")
    assert attempts(s, mail)[0]["Address"] == f"[::1]:{h.port}" and h.posts[0].headers["Host"] == f"[::1]:{h.port}"

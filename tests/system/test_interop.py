"""Penfold among other people's mail servers: Postfix, Exim, OpenSMTPD and Haraka, found by DNSSEC-signed zones, on port 25 of their
own addresses, over TLS that both sides verify.  peers.py tells what each of them is configured to do."""
import email
import email.policy
import re
import smtplib
import ssl

import pytest

import dns
import peers
from conftest import Penfold, wait_until
from machines import Network, why_not
from test_two_servers import Server

pytestmark = [dns.needs_nsd, pytest.mark.skipif(why_not() is not None, reason=f"machines of one's own: {why_not()}")]
HEAD = ("Date: Wed, 25 Nov 2026 10:00:00 +0000\r\nFrom: Ada <ada@penfold.example>\r\nTo: box@partner.example\r\n"
        "Subject: of a kind\r\nMIME-Version: 1.0\r\n")
EVERY_BYTE = bytes(b for b in range(1, 256) if b not in b"\r\n")
BASE64 = "\r\n".join("TG9yZW0gaXBzdW0gZG9sb3Igc2l0IGFtZXQsIGNvbnNlY3RldHVyIGFkaXBpc2NpbmcgZWxpdC4g" for _ in range(400)).encode()


def text(charset, encoding="8bit"):
    return f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n"


# name: (header fields beside those of HEAD, body as it is submitted)
KINDS = {
    "plain": ("", b"Hello.\r\n\r\nTwo lines.\r\n"),
    "utf-8": (text("utf-8"), "Grüße aus Köln — 你好, здравствуйте, 🎉\r\n".encode()),
    "latin-1": (text("iso-8859-1"), "Grüße aus Köln\r\n".encode("latin-1")),
    "every-byte": (text("unknown-8bit"), EVERY_BYTE + b"\r\n" + EVERY_BYTE[::-1] + b"\r\n"),
    "multipart": ('Content-Type: multipart/mixed; boundary="edge"\r\n',
                  b"--edge\r\n" + text("utf-8").encode() + b"\r\n" + "Grüße\r\n".encode() +
                  b'--edge\r\nContent-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\n' + BASE64 +
                  b"\r\n--edge\r\nContent-Type: message/rfc822\r\n\r\nSubject: inside\r\n\r\ntext\r\n--edge--\r\nbehind\r\n"),
    "long-lines": ("", b"".join(b"%d" % n + b"x" * (n - len(b"%d" % n)) + b"\r\n" for n in (900, 990, 991, 992, 993, 996, 997, 998))),
    "long-dots": ("", b"." + b"x" * 997 + b"\r\n" + b"." * 998 + b"\r\n" + "ü".encode() * 499 + b"\r\n"),
    "dots": ("", b".\r\n..\r\n...\r\n.a\r\n.\r\n\r\n.\r\n"),
    "dot-first": ("", b".\r\n"),
    "empty": ("", b""),
    "one-blank-line": ("", b"\r\n"),
    "blank-lines": ("", b"\r\n\r\na\r\n\r\n\r\n\r\n"),
    "blanks": ("", b" \r\n\t\r\ntrailing  \r\n \ttabs\t\r\n  \r\n"),
    "from-lines": ("", b"From ada Wed Nov 25 10:00:00 2026\r\n>From her\r\nFrom: nobody\r\n"),
    "header-like": ("", b"X-Not: a header\r\n\r\nReceived: by nobody\r\n"),
    "large": (text("us-ascii", "7bit"), b"0123456789abcdef\r\n" * 14000),
}


def message(name, tag):
    fields, body = KINDS[name]
    return HEAD.encode() + f"Message-ID: <{name}.{tag}@penfold.example>\r\n{fields}\r\n".encode() + body


def body_of(raw):
    return raw.split(b"\r\n\r\n", 1)[1] if b"\r\n\r\n" in raw else b""


def with_id(mails, name, tag):
    """The one of these messages that was sent as message(name, tag)."""
    found = [raw for raw in mails if re.search(rb"(?im)^Message-ID: <%s.%s@penfold.example>" % (name.encode(), tag.encode()), raw)]
    return found[0] if found else None


class Home(Server):
    """Penfold, for penfold.example and office.example."""

    def __init__(self, path, authority, names):
        self.dir, self.domain, self.seen = path / "home", "penfold.example", {}
        self.dir.mkdir()
        cert, key = authority.issue("mx.penfold.example", str(self.dir))
        self.conf = self.dir / "penfold.conf"
        self.conf.write_text(
            f"user root\nhostname mx.penfold.example\ndata {self.dir}/data\nworkers 1\ntls_certificate {cert}\ntls_key {key}\n"
            f"dns {names.address}\ndns_anchor {names.anchor}\nqueue_retry 1s\nsmtp_message_max 1MiB\n"
            f"listen mx {{\n  address {peers.HOME}:25\n  tls starttls\n}}\n"
            f"listen submission {{\n  address {peers.HOME}:587\n  policy submission\n  tls starttls\n  auth required\n}}\n"
            f"listen admin {{\n  protocol http\n  address unix:{self.dir}/admin.sock\n}}\n"
            "domain penfold.example {\n}\ndomain office.example {\n}\n"
            f"site partners {{\n  match *.example\n  tls verify\n  source {peers.HOME}\n}}\n")
        Penfold.__init__(self, self.dir / "data", ["-c", str(self.conf)], {"SSL_CERT_FILE": authority.file}, "serve", ports=False)
        self.log, self.tls = str(self.dir / "log"), ssl.create_default_context(cafile=authority.file)

    def people(self):
        for address, senders in {"ada@penfold.example": "", "carl@office.example": "", "jürgen@penfold.example": "",
                                 peers.USER: " ".join(f"@{one.name}.example" for one in peers.PEERS.values())}.items():
            settings = {"password": peers.PASSWORD, **({"senders": senders} if senders else {})}
            self.api(f"/api/v1/admin/accounts/{quoted(address)}?how=new", "PUT", settings)

    def rows(self, address):
        try:
            return self.api(f"/api/v1/admin/mailboxes/{quoted(address)}/INBOX?limit=1000")["Messages"]
        except OSError as e:
            if " 404 " in str(e):
                return []
            raise

    def mails(self, address="ada@penfold.example"):
        """The bytes of all messages of an inbox; each is fetched once."""
        ids = [row["ID"] for row in self.rows(address)]
        for one in ids:
            if one not in self.seen:
                self.seen[one] = self.api(f"/api/v1/message/{one}/raw?edited=1", raw=True)
        return [self.seen[one] for one in ids]

    def envelope(self, raw):
        """How this message came."""
        return self.api(f"/api/v1/message/{next(one for one, bytes_ in self.seen.items() if bytes_ is raw)}/envelope")

    def connect(self):
        s = secured(peers.HOME, 587, "mx.penfold.example", self.tls)
        s.login("ada@penfold.example", peers.PASSWORD)
        return s

    def submit(self, to, raw, mail_options=(), rcpt_options=(), connection=None):
        s = connection or self.connect()
        queued = send(s, "ada@penfold.example", to, raw, mail_options, rcpt_options)
        if not connection:
            s.quit()
        return queued.rsplit(" ", 1)[1]

    def attempts(self, mail):
        return self.story(mail)["Attempts"]


def quoted(address):
    return "".join(chr(b) if b < 128 else f"%{b:02X}" for b in address.encode())


def secured(address, port, name, tls):
    """A connection over TLS to who is `name`; ours is not the machines' resolver."""
    s = smtplib.SMTP(address, port, local_hostname="client.example", timeout=20)
    s._host = name
    s.starttls(context=tls)
    s.ehlo()
    return s


def send(s, sender, to, raw, mail_options=(), rcpt_options=()):
    """One transaction; the words of its 250."""
    s.command_encoding = "utf-8"
    assert s.mail(sender, mail_options)[0] == 250
    for one in to:
        code, said = s.rcpt(one, rcpt_options)
        assert code == 250, (one, said)
    code, said = s.data(raw)
    assert code == 250, said
    return said.decode()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The network, the DNS, the authority, and Penfold."""
    path = tmp_path_factory.mktemp("interop")
    addresses = {"penfold": peers.HOME, **{name: f"{peers.NET}.{one.number}" for name, one in peers.PEERS.items()}}
    with Network(f"{peers.NET}.1"):
        zones = {f"{name}.example": (f"@ MX 10 mx\nmx A {address}\n", "signed") for name, address in addresses.items()}
        zones["2.0.192.in-addr.arpa"] = "".join(f"{address.rsplit('.', 1)[1]} PTR mx.{name}.example.\n" for name, address in addresses.items())
        names, authority = dns.Server(path, zones, port=53), peers.Authority(path)
        home = Home(path, authority, names)
        try:
            home.start()
            home.people()
            yield home, authority, path
        finally:
            home.stop()
            names.stop()


class Partner:
    """A peer that runs, and what was sent to it in the beginning."""

    def __init__(self, peer, home):
        self.peer, self.home = peer, home
        s = home.connect()
        self.ids = {kind: home.submit([f"box@{peer.domain}", f"back@{peer.domain}"], message(kind, peer.name), ["BODY=8BITMIME"], connection=s)
                    for kind in KINDS}
        s.quit()

    def connect(self):
        return secured(self.peer.address, 25, self.peer.mx, self.home.tls)


def answers(address):
    try:
        with smtplib.SMTP(address, 25, timeout=5):
            return True
    except (OSError, smtplib.SMTPException):
        return False


@pytest.fixture(scope="module", params=list(peers.PEERS))
def partner(request, world):
    kind = peers.PEERS[request.param]
    if kind.why_not():
        pytest.skip(kind.why_not())
    home, authority, path = world
    peer = kind(path, authority).start()
    try:
        wait_until(lambda: peer.process.poll() is not None or answers(peer.address), 20, peer.name)
        assert peer.process.poll() is None, peer.said()
        yield Partner(peer, home)
    finally:
        peer.stop()


def arrives(partner, where, name, tag, what):
    try:
        return wait_until(lambda: with_id(where(), name, tag), 15, what)
    except AssertionError as e:
        raise AssertionError(f"{e}\n{partner.peer.said()[-6000:]}") from None


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_of_each_kind_goes_there_and_comes_back(partner, kind):
    peer, home = partner.peer, partner.home
    there = arrives(partner, lambda: peer.mails("box"), kind, peer.name, f"{kind} at {peer.name}")
    back = arrives(partner, home.mails, kind, peer.name, f"{kind} from {peer.name}")
    assert body_of(there) == KINDS[kind][1]
    assert body_of(back) == KINDS[kind][1]


def test_no_line_end_at_the_end(partner):
    """Only BDAT can say so; who takes lines gets the last one ended, and nothing else changes."""
    peer, home = partner.peer, partner.home
    raw = message("dots", f"torn-{peer.name}") + b"last"
    with home.connect() as s:
        s.mail("ada@penfold.example")
        for box in "box", "back":
            s.rcpt(f"{box}@{peer.domain}")
        s.send(b"BDAT %d\r\n" % 100 + raw[:100])
        assert s.getreply()[0] == 250
        s.send(b"BDAT %d LAST\r\n" % len(raw[100:]) + raw[100:])
        assert s.getreply()[0] == 250
    for where in (lambda: peer.mails("box")), home.mails:
        got = arrives(partner, where, "dots", f"torn-{peer.name}", "the mail")
        assert body_of(got).removesuffix(b"\r\n") == KINDS["dots"][1] + b"last"


def test_a_line_too_long_for_the_wire(partner):
    """It is encoded for the way (RFC 5322 2.1.1), not cut as some would cut it: the text stays what it was."""
    peer, home = partner.peer, partner.home
    long = "Grüße " * 900 + "\r\n"
    home.submit([f"box@{peer.domain}", f"back@{peer.domain}"], message("utf-8", f"long-{peer.name}") + long.encode(), ["BODY=8BITMIME"])
    for where in (lambda: peer.mails("box")), home.mails:
        got = arrives(partner, where, "utf-8", f"long-{peer.name}", "the mail")
        assert max(map(len, got.split(b"\r\n"))) <= 998
        text = email.message_from_bytes(got, policy=email.policy.SMTPUTF8).get_content()
        assert text.replace("\r\n", "\n") == (KINDS["utf-8"][1].decode() + long).replace("\r\n", "\n")


def received_by(raw, host):
    """The Received field that this server wrote, unfolded."""
    head = re.sub(rb"\r\n[ \t]+", b" ", raw.split(b"\r\n\r\n", 1)[0]).decode("utf-8", "replace")
    return next(line for line in head.split("\r\n") if line.lower().startswith("received:") and f"by {host}" in line)


def test_both_sides_speak_tls_and_know_whom_to(partner):
    """Penfold verifies (a `site` block says so), each partner is told to; and all wrote it down."""
    peer, home = partner.peer, partner.home
    there = arrives(partner, lambda: peer.mails("box"), "plain", peer.name, "the mail")
    back = arrives(partner, home.mails, "plain", peer.name, "the mail")
    assert re.search(r"with (ESMTPS|esmtps|UTF8SMTPS)|TLS", received_by(there, peer.mx))
    assert re.search(r"with ESMTPS", received_by(back, "mx.penfold.example")), back[:2000]
    came = home.envelope(back)
    assert came["TLSVersion"] == "TLSv1.3" and came["ClientAddress"].startswith(peers.NET + "."), came
    attempt = next(one for one in home.attempts(partner.ids["plain"]) if one["Outcome"] == "delivered")
    assert attempt["TLS"].startswith("TLSv1.3") and attempt["Host"] == peer.mx, attempt
    assert re.search(peer.verified, peer.said()), peer.said()[-4000:]


def test_connections_are_used_again(partner):
    """All kinds went there over fewer connections than there were messages; a partner that keeps its own did the same."""
    peer, home = partner.peer, partner.home
    for kind in KINDS:
        arrives(partner, home.mails, kind, peer.name, "the mail")
    attempts = [one for mail in partner.ids.values() for one in home.attempts(mail) if one["Transcript"]]
    opened = [one for one in attempts if f"< 220 {peer.mx}" in one["Transcript"]]
    assert 0 < len(opened) < len(attempts) == len(KINDS), (len(opened), len(attempts))
    if peer.keeps_connections:
        assert max(home.envelope(raw)["Transaction"] for raw in home.mails() if with_id([raw], "[a-z0-9-]*", peer.name)) > 1


def report_in(mails, about):
    """The report about this recipient (RFC 3464): the message, the fields that are about all, and those of the recipient."""
    for raw in mails:
        mail = email.message_from_bytes(raw, policy=email.policy.SMTPUTF8)  # OpenSMTPD calls it multipart/mixed
        parts = raw.split(b"\r\n--" + mail.get_boundary().encode()) if mail.is_multipart() else []
        for part in parts:
            if re.match(rb"(?is)\r\n(.+\r\n)?Content-Type: message/(global-)?delivery-status", part):
                whole, *rcpts = fields_of(body_of(part).decode())
                for one in rcpts:
                    if one["final-recipient"].endswith(about):
                        return mail, whole, one
    return None


def fields_of(status):
    """Its blocks of fields; types stand without a blank behind them, "dns;mx.example"."""
    made = []
    for block in re.split(r"\r\n\r\n", re.sub(r"\r\n[ \t]+", " ", status)):
        fields = dict(line.split(":", 1) for line in block.split("\r\n") if ":" in line)
        if fields:
            made.append({key.lower(): re.sub(r";\s*", ";", value.strip(), count=1) for key, value in fields.items()})
    return made


def reported(partner, where, about, what):
    try:
        return wait_until(lambda: report_in(where(), about), 15, what)
    except AssertionError as e:
        raise AssertionError(f"{e}\n{[raw[:3000] for raw in where()[-2:]]}\n{partner.peer.said()[-6000:]}") from None


def test_one_of_several_recipients_is_refused(partner):
    """The others get the mail; its sender gets the partner's words about the one."""
    peer, home = partner.peer, partner.home
    nobody = f"nobody@{peer.domain}"
    mail = home.submit([f"box@{peer.domain}", nobody, f"back@{peer.domain}"], message("plain", f"refused-{peer.name}"))
    arrives(partner, lambda: peer.mails("box"), "plain", f"refused-{peer.name}", "the mail")
    arrives(partner, home.mails, "plain", f"refused-{peer.name}", "the mail")
    report, whole, one = reported(partner, home.mails, nobody, "the report")
    assert whole["reporting-mta"] == "dns;mx.penfold.example" and report["Auto-Submitted"].startswith("auto-replied"), whole
    assert report.get_content_type() == "multipart/report" and report["Content-Type"].params["report-type"] == "delivery-status"
    assert one["final-recipient"] == f"rfc822;{nobody}" and one["action"] == "failed" and one["status"].startswith("5."), one
    assert one["remote-mta"] == f"dns;{peer.mx}" and one["diagnostic-code"].startswith("smtp;5"), one
    assert f"refused-{peer.name}@" in report.get_payload()[2].as_string()
    states = {q["Recipient"]: q["State"] for q in home.story(mail)["Queue"]}
    assert states == {nobody: "bounced", f"box@{peer.domain}": "delivered", f"back@{peer.domain}": "delivered"}


def test_one_of_several_recipients_is_refused_here(partner):
    """The partner understands what Penfold says, and tells its own user."""
    peer, home = partner.peer, partner.home
    s = partner.connect()
    send(s, f"box@{peer.domain}", ["ada@penfold.example", "nobody@penfold.example"], message("plain", f"here-{peer.name}"))
    s.quit()
    arrives(partner, home.mails, "plain", f"here-{peer.name}", "the mail")
    _, whole, one = reported(partner, lambda: peer.mails("box"), "nobody@penfold.example", "the report")
    assert whole["reporting-mta"] == f"dns;{peer.mx}" and one["final-recipient"] == "rfc822;nobody@penfold.example", (whole, one)
    if "action" in peer.reports:
        assert one["action"] == "failed" and one["status"].startswith("5."), one
    if "diagnostic" in peer.reports:
        assert one["remote-mta"] == "dns;mx.penfold.example" and "550 5.1.1" in one["diagnostic-code"], one


def test_not_yet_known_there(partner):
    """What greylisting does: 4xx, and later the mail is taken."""
    peer, home = partner.peer, partner.home
    mail = home.submit([f"later@{peer.domain}"], message("plain", f"later-{peer.name}"))
    deferred = wait_until(lambda: home.attempts(mail), 15, "a first attempt")[0]
    assert deferred["Outcome"] == "deferred" and 400 <= deferred["Code"] < 500 and "not known yet" in deferred["Text"], deferred
    assert not peer.mails("later")
    peer.admit()
    arrives(partner, lambda: peer.mails("later"), "plain", f"later-{peer.name}", "the mail")
    wait_until(lambda: home.attempts(mail)[-1]["Outcome"] == "delivered", 10, "the end of the attempt")
    assert len(peer.mails("later")) == 1


def test_too_large_for_the_partner(partner):
    """Its SIZE is believed: nothing is sent, and the sender is told."""
    peer, home = partner.peer, partner.home
    mail = home.submit([f"box@{peer.domain}"], message("plain", f"size-{peer.name}") + b"x" * 998 + b"\r\n" + (b"y" * 78 + b"\r\n") * 5000)
    wait_until(lambda: [one for one in home.story(mail)["Queue"] if one["State"] == "bounced"], 15, "the end")
    attempt = home.attempts(mail)[-1]
    assert "DATA" not in attempt["Transcript"] and "BDAT" not in attempt["Transcript"], attempt
    _, _, one = reported(partner, home.mails, f"box@{peer.domain}", "the report")
    assert one["status"] == "5.3.4" and one["action"] == "failed", one


def test_a_partner_submits_with_a_password(partner):
    """Penfold as its smarthost: over TLS, logged in, as its own users."""
    peer, home = partner.peer, partner.home
    s = partner.connect()
    for kind in KINDS:
        send(s, f"box@{peer.domain}", ["carl@office.example"], message(kind, f"office-{peer.name}"), ["BODY=8BITMIME"])
    s.quit()
    for kind in KINDS:
        got = arrives(partner, lambda: home.mails("carl@office.example"), kind, f"office-{peer.name}", f"{kind} from {peer.name}")
        assert body_of(got) == KINDS[kind][1]
    came = home.envelope(got)
    assert came["AuthUser"] == peers.USER and came["Protocol"].endswith("ESMTPSA") and came["Listener"] == "submission", came


def test_reports_of_success(partner):
    """NOTIFY=SUCCESS is passed on to who can report; else Penfold says that it handed the mail over."""
    peer, home = partner.peer, partner.home
    home.submit([f"later@{peer.domain}"], message("plain", f"dsn-{peer.name}"), ["RET=HDRS", f"ENVID=of-{peer.name}"],
                ["NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;the.orig+2Binal@{peer.domain}"])
    arrives(partner, lambda: peer.mails("later"), "plain", f"dsn-{peer.name}", "the mail")
    report, whole, one = reported(partner, home.mails, f"later@{peer.domain}", "the report")
    if "original" in peer.reports:
        assert one["original-recipient"] == f"rfc822;the.orig+inal@{peer.domain}", one
    if "envelope" in peer.reports:
        assert whole["original-envelope-id"] == f"of-{peer.name}", whole
    if peer.dsn:
        assert whole["reporting-mta"] == f"dns;{peer.mx}" and one["action"] == "delivered", (whole, one)
    else:
        assert whole["reporting-mta"] == "dns;mx.penfold.example" and one["action"] == "relayed", (whole, one)


def test_reports_of_success_here(partner):
    """A partner that has DSN hands it to Penfold, which reports the delivery to the mailbox."""
    peer, home = partner.peer, partner.home
    if not peer.dsn:
        pytest.skip(f"{peer.name} has no DSN")
    s = partner.connect()
    send(s, f"box@{peer.domain}", ["ada@penfold.example"], message("plain", f"success-{peer.name}"), ["ENVID=home"], ["NOTIFY=SUCCESS"])
    s.quit()
    arrives(partner, home.mails, "plain", f"success-{peer.name}", "the mail")
    _, whole, one = reported(partner, lambda: peer.mails("box"), "ada@penfold.example", "the report")
    assert one["action"] == "delivered" and whole["reporting-mta"] == "dns;mx.penfold.example", (whole, one)
    assert whole["original-envelope-id"] == "home", whole


def test_addresses_beyond_ascii(partner):
    """SMTPUTF8 both ways; who has none of it gets none, and the sender is told."""
    peer, home = partner.peer, partner.home
    head = message("utf-8", f"eai-{peer.name}").replace(b"From: Ada", "From: Adá".encode())
    there = f"büro@{peer.domain}"
    if not peer.utf8:
        home.submit([there], head, ["SMTPUTF8", "BODY=8BITMIME"])
        report, _, one = reported(partner, home.mails, there, "the report")
        assert one["status"] == "5.6.7" and one["action"] == "failed", one
        return
    home.submit([there], head, ["SMTPUTF8", "BODY=8BITMIME"])
    got = arrives(partner, lambda: peer.mails("büro"), "utf-8", f"eai-{peer.name}", "the mail")
    assert body_of(got) == KINDS["utf-8"][1] and "Adá".encode() in got
    s = partner.connect()
    send(s, there, ["jürgen@penfold.example"], head, ["SMTPUTF8", "BODY=8BITMIME"])
    s.quit()
    got = arrives(partner, lambda: home.mails("jürgen@penfold.example"), "utf-8", f"eai-{peer.name}", "the mail back")
    assert body_of(got) == KINDS["utf-8"][1] and "Adá".encode() in got
    came = home.envelope(got)
    assert came["Sender"] == there and "SMTPUTF8" in came["SenderParams"] and came["Protocol"].startswith("UTF8"), came

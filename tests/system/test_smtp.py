"""SMTP and LMTP as they are served: every way in, framing, TLS, AUTH, PROXY, XCLIENT; and what is stored of each."""
import smtplib
import socket
import ssl
import struct

import pytest

from conftest import Smtp, wait_until

BODY = b"Subject: hello\r\n\r\n.a dot\r\ntext\r\n"
MAIL = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n"
SEQUENCES = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\n", b"\r.\r\n", b"\n.\r", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n"]


def no_verify():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def id_of(reply):
    assert reply.startswith("250 2.0.0 Ok: queued as "), reply
    return reply.rsplit(" ", 1)[1]


def closed(s):
    try:
        return s.file.read() == b""
    except OSError:
        return True


def test_plain(sandbox):
    s = Smtp(sandbox.smtp)
    assert s.banner.startswith("220 ") and "ESMTP" in s.banner
    ehlo = s.cmd("EHLO client.example")
    for word in ("PIPELINING", "SIZE 52428800", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS", "LIMITS RCPTMAX=1000"):
        assert f"250-{word}" in ehlo or f"250 {word}" in ehlo, word
    one, two = id_of(s.message(BODY)), id_of(s.message(BODY, sender=""))
    assert one != two and sandbox.raw(one) == BODY and sandbox.raw(two) == BODY
    assert s.cmd("QUIT").startswith("221 2.0.0")
    assert closed(s)


def test_starttls(sandbox):
    client = smtplib.SMTP("127.0.0.1", sandbox.smtp, timeout=20)
    client.starttls(context=no_verify())
    client.ehlo()
    assert client.has_extn("requiretls") and not client.has_extn("starttls")
    client.login("user", "password")
    assert client.sendmail("a@example.com", ["b@example.org", "c@example.org"], BODY) == {}
    client.quit()


def test_implicit_tls(sandbox):
    s = Smtp(sandbox.smtps, tls=no_verify())
    s.cmd("EHLO client.example")
    assert sandbox.raw(id_of(s.message(BODY))) == BODY
    s.close()


def test_bytes_after_starttls_end_the_session(sandbox):
    s = Smtp(sandbox.smtp)
    s.cmd("EHLO client.example")
    s.send(b"STARTTLS\r\n" + MAIL)
    assert s.reply().startswith("220")
    assert closed(s)


def test_lmtp_answers_for_each_recipient(sandbox):
    s = Smtp(sandbox.lmtp)
    assert s.cmd("EHLO x").startswith("500") and s.cmd("LHLO x").startswith("250")
    s.cmd("MAIL FROM:<a@example.com>")
    s.cmd("RCPT TO:<b@example.org>")
    s.cmd("RCPT TO:<c@example.org>")
    assert s.cmd("DATA").startswith("354")
    s.send(BODY.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    one, two = id_of(s.reply()), id_of(s.reply())
    assert one == two and sandbox.raw(one) == BODY


def test_unix_socket(penfold, tmp_path):
    box = penfold("--lmtp", f"unix:{tmp_path}/lmtp.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(f"{tmp_path}/lmtp.sock")
        lines = sock.makefile("rb")
        assert lines.readline().startswith(b"220 ")
        sock.sendall(b"LHLO x\r\n" + MAIL + b"DATA\r\n" + b"Subject: u\r\n\r\nu\r\n.\r\nQUIT\r\n")
        said = lines.read().decode()
        lines.close()
    assert "250 2.0.0 Ok: queued as " in said and box.messages()["total"] == 1


def test_pipelining(sandbox):
    s = Smtp(sandbox.smtp)
    s.cmd("EHLO x")
    s.send((MAIL + b"DATA\r\n" + b"Subject: p\r\n\r\np\r\n.\r\n") * 20 + b"QUIT\r\n")
    replies = [s.reply() for _ in range(81)]
    assert len({id_of(r) for r in replies if "queued" in r}) == 20
    assert replies[-1].startswith("221")


def test_everything_byte_by_byte(sandbox):
    s = Smtp(sandbox.smtp)
    s.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in b"EHLO x\r\n" + MAIL + b"DATA\r\n" + BODY.replace(b"\r\n.", b"\r\n..") + b".\r\n":
        s.send(bytes([byte]))
    replies = [s.reply() for _ in range(5)]
    assert sandbox.raw(id_of(replies[-1])) == BODY


def test_bdat(sandbox):
    s = Smtp(sandbox.smtp)
    s.cmd("EHLO x")
    s.send(b"MAIL FROM:<a@example.com> BODY=BINARYMIME\r\nRCPT TO:<b@example.org>\r\nBDAT 4\r\na\0\n.BDAT 3 LAST\r\n\r\n.")
    replies = [s.reply() for _ in range(4)]
    assert sandbox.raw(id_of(replies[-1])) == b"a\0\n.\r\n."
    assert s.cmd(b"BDAT 6\r\nQUIT\r\n").startswith("503")
    assert s.cmd("NOOP").startswith("250")


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_smuggling_is_kept_and_not_executed(sandbox, sequence):
    s = Smtp(sandbox.smtp)
    s.cmd("EHLO x")
    s.send(MAIL + b"DATA\r\n")
    for _ in range(3):
        s.reply()
    before = sandbox.messages()["total"]
    text = b"one" + sequence + MAIL + b"DATA\r\nevil\r\n"
    s.send(text + b".\r\n")
    assert sandbox.raw(id_of(s.reply())) == text.replace(b"\r\n.", b"\r\n")
    assert sandbox.messages()["total"] == before + 1


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_smuggling_is_refused_by_framing_reject(rejecting, sequence):
    s = Smtp(rejecting.smtp)
    s.cmd("EHLO x")
    s.send(MAIL + b"DATA\r\none" + sequence + MAIL + b"DATA\r\nevil\r\n.\r\n")
    for _ in range(3):
        s.reply()
    assert s.reply().startswith("521 5.5.2")
    assert closed(s) and rejecting.messages()["total"] == 0


@pytest.fixture(scope="module")
def rejecting(tmp_path_factory):
    from conftest import Penfold
    p = Penfold(tmp_path_factory.mktemp("reject") / "data", ["--framing", "reject"]).start()
    yield p
    p.stop()


@pytest.mark.parametrize("raw", [b"NOOP\n", b"NO\rOP\r\n", b"NOOP \0\r\n"])
def test_raw_commands_end_the_session(sandbox, raw):
    s = Smtp(sandbox.smtp)
    s.send(raw + b"NOOP\r\n")
    assert s.reply().startswith("500 5.5.2")
    assert closed(s)


def test_tls_on_the_plain_port_and_http(sandbox):
    s = Smtp(sandbox.smtp)
    s.send(b"\x16\x03\x01\x02\x00\x01")
    assert s.reply().startswith("500") and closed(s)
    s = Smtp(sandbox.smtp)
    s.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert s.reply().startswith("421") and closed(s)


def test_size_limit_keeps_the_session(penfold):
    box = penfold("--max-size", "512KiB")
    s = Smtp(box.smtp)
    assert "SIZE 524288" in s.cmd("EHLO x")
    assert s.cmd("MAIL FROM:<a@example.com> SIZE=524289").startswith("552 5.3.4")
    assert s.message(b"x" * 600000 + b"\r\n").startswith("552 5.3.4")
    assert s.message(b"x" * 524286 + b"\r\n").startswith("250")
    assert box.messages()["total"] == 1


def test_large_message(sandbox):
    body = b"Subject: large\r\n\r\n" + b"".join(b".%070d\r\n" % i for i in range(60000))
    s = Smtp(sandbox.smtp)
    s.cmd("EHLO x")
    assert sandbox.raw(id_of(s.message(body))) == body


def test_a_client_that_goes_away_leaves_nothing(sandbox):
    before = sandbox.messages()["total"]
    s = Smtp(sandbox.smtp)
    s.cmd("EHLO x")
    s.send(MAIL + b"DATA\r\nhalf a mess")
    s.close()
    s = Smtp(sandbox.smtp)
    s.cmd("EHLO x")
    s.message(BODY)
    assert sandbox.messages()["total"] == before + 1


def test_half_closed_client_gets_its_answer(sandbox):
    s = Smtp(sandbox.smtp)
    s.send(b"EHLO x\r\n" + MAIL + b"DATA\r\nSubject: h\r\n\r\nh\r\n.\r\n")
    s.sock.shutdown(socket.SHUT_WR)
    assert b"250 2.0.0 Ok: queued as " in s.file.read()


def test_flood_of_help_is_answered_in_bounded_memory(sandbox):
    s = Smtp(sandbox.smtp)
    s.send(b"HELP\r\n" * 5000 + b"QUIT\r\n")
    said = s.file.read()
    assert said.count(b"214 2.0.0") == 5000 and b"\r\n221 2.0.0" in said


def v2(source, port):
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H4s4sHH", 12, socket.inet_aton(source), socket.inet_aton("203.0.113.1"), port, 25)


@pytest.fixture(scope="module")
def balanced(tmp_path_factory):
    from conftest import Penfold
    p = Penfold(tmp_path_factory.mktemp("proxy") / "data", ["--proxy", "127.0.0.0/8"]).start()
    yield p
    p.stop()


@pytest.mark.parametrize("header", [b"PROXY TCP4 198.51.100.7 203.0.113.1 7777 25\r\n", v2("198.51.100.7", 7777)])
def test_proxy(balanced, header):
    s = Smtp(balanced.smtp, banner=False)
    s.send(header + b"EHLO x\r\n")
    assert s.reply().startswith("220") and s.reply().startswith("250")
    id_of(s.message(BODY))
    assert session_is_from(balanced, "198.51.100.7", s)


def session_is_from(box, address, s):
    """The greeting came, so the header was taken; the log names the client."""
    s.cmd("QUIT")
    return wait_until(lambda: address in open(box.log).read(), what="the client's address in the log")


def test_proxy_before_tls_in_one_segment(balanced):
    """The header and the ClientHello arrive together: only the header may be read before the handshake."""
    context, incoming, outgoing = no_verify(), ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with socket.create_connection(("127.0.0.1", balanced.smtps), timeout=20) as sock:
        sock.sendall(b"PROXY TCP4 198.51.100.9 203.0.113.1 7777 465\r\n" + outgoing.read())
        said = b""
        while b"220 " not in said:
            data = sock.recv(65536)
            assert data, "closed"
            incoming.write(data)
            try:
                if not tls.version() or not said:
                    tls.do_handshake()
                said += tls.read(65536)
            except ssl.SSLWantReadError:
                pass
            pending = outgoing.read()
            if pending:
                sock.sendall(pending)


def test_no_proxy_header_where_one_must_be(balanced):
    s = Smtp(balanced.smtp, banner=False)
    s.send(b"EHLO x\r\n")
    assert closed(s)


def test_xclient(penfold):
    box = penfold("--xclient", "127.0.0.1")
    s = Smtp(box.smtp)
    assert "XCLIENT" in s.cmd("EHLO x")
    assert s.cmd("XCLIENT ADDR=198.51.100.8 PORT=99 HELO=spike.example LOGIN=tim").startswith("220")
    s.cmd("EHLO x")
    id_of(s.message(BODY))
    assert session_is_from(box, "198.51.100.8", s)


def test_xclient_is_not_for_everybody(sandbox):
    s = Smtp(sandbox.smtp)
    assert "XCLIENT" not in s.cmd("EHLO x")
    assert s.cmd("XCLIENT ADDR=198.51.100.8").startswith("550 5.7.1")


def test_auth_file_offers_scram(penfold, tmp_path):
    users = tmp_path / "users"
    users.write_text("tim:tanstaaftanstaaf\n")
    box = penfold("--auth-file", str(users))
    s = Smtp(box.smtp)
    assert "SCRAM-SHA-256" in s.cmd("EHLO x")
    assert s.cmd("AUTH PLAIN AHRpbQB3cm9uZw==").startswith("535 5.7.8")
    assert s.cmd("AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm").startswith("235 2.7.0")


def test_stopping_says_so(penfold):
    box = penfold()
    s = Smtp(box.smtp)
    s.cmd("EHLO x")
    assert box.stop() == 0
    assert s.reply().startswith("421 4.3.2")


def test_many_errors_end_the_session(sandbox):
    s = Smtp(sandbox.smtp)
    for _ in range(9):
        assert s.cmd("WHAT").startswith("500 5.5.1")
    s.close()

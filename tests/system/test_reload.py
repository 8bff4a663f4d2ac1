"""SIGHUP: a changed configuration is taken over without dropping a session; a wrong one is refused and changes nothing."""
import signal
import smtplib

import pytest

from conftest import Penfold, wait_until
from test_cli import run


@pytest.fixture
def server(tmp_path):
    """`penfold serve` from a file; .file, and .smtp and .http as the ports in it."""
    file = tmp_path / "penfold.conf"
    p = Penfold(tmp_path / "data", ["-c", str(file)], command="serve", ports=False)
    p.file = file
    p.text = (f"user root\nhostname mx.example.org\ndata data\nworkers 1\n"
              f"listen mx {{\n  address 127.0.0.1:{p.smtp}\n}}\nlisten web {{\n  address 127.0.0.1:{p.http}\n  protocol http\n  access open\n}}\nroute all {{\n  action capture\n}}\n")
    file.write_text(p.text)
    p.start()
    yield p
    if p.process.poll() is None:
        p.stop()


def log(p):
    return open(p.log).read()


def greeting(p):
    with smtplib.SMTP() as s:
        return s.connect("127.0.0.1", p.smtp)[1].decode()


def test_serve_takes_mail_and_stops(server):
    with smtplib.SMTP("127.0.0.1", server.smtp) as s:
        assert s.sendmail("a@example.com", ["b@example.org"], "Subject: one\r\n\r\nbody\r\n") == {}
    assert server.messages()["total"] == 1
    assert run("store", "check", "--data", server.data)[0] == 75  # in use
    assert server.stop() == 0
    status, out, err = run("store", "check", "--data", server.data)
    assert (status, err) == (0, "") and "1 messages" in out and " 0 faults" in out


def test_a_changed_file_is_taken_over_and_sessions_go_on(server):
    with smtplib.SMTP("127.0.0.1", server.smtp) as open_session:
        open_session.ehlo()
        server.file.write_text(server.text + "greeting \"hello from the new one\"\nsmtp_message_max 1MiB\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: greeting(server).endswith("hello from the new one"), 20, "the new greeting")
        assert open_session.sendmail("a@example.com", ["b@example.org"], "Subject: old session\r\n\r\nbody\r\n") == {}
    with smtplib.SMTP("127.0.0.1", server.smtp) as s:
        s.ehlo()
        assert s.esmtp_features["size"] == str(1024 * 1024)
    assert server.messages()["total"] == 1


def test_a_wrong_file_is_refused_and_nothing_changes(server):
    before = greeting(server)
    server.file.write_text(server.text + "greting \"typo\"\nworkers 1\n")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reload_refused" in log(server), 20, "the refusal in the log")
    assert f"{server.file}:16: unknown setting" in log(server) and "did you mean" in log(server)
    assert greeting(server) == before
    server.file.write_text(server.text + "greeting better\n")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: greeting(server).endswith("better"), 20, "the corrected greeting")

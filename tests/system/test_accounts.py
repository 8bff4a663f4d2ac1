"""Accounts, aliases, domains and tokens by command: the same with a server and without one, never beside one; and whom `penfold route` asks."""
import json
import os
import pwd
import smtplib
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest

from conftest import PENFOLD, free_port
from test_mailbox import Server

UNAVAILABLE, TEMPFAIL = 69, 75
SESSION = [  # arguments, stdin, status
    (["domain", "add", "b.example"], "", 0),
    (["domain", "add", "b.example"], "", UNAVAILABLE),
    (["account", "add", "Ada@B.example", "--password-stdin", "name=Ada", "quota=1GiB"], "pencil\n", 0),
    (["account", "add", "ada@b.example", "--password-stdin"], "x\n", UNAVAILABLE),
    (["account", "add", "ada@elsewhere.example", "--password-stdin"], "x\n", UNAVAILABLE),
    (["account", "add", "bob@b.example", "--password-stdin", "colour=red"], "x\n", UNAVAILABLE),
    (["account", "add", "bob@b.example", "--password-stdin", "quota=much"], "x\n", UNAVAILABLE),
    (["account", "set", "ada@b.example", "name=Ada L.", "quota="], "", 0),
    (["account", "set", "nobody@b.example", "name=x"], "", UNAVAILABLE),
    (["account", "set", "ada@b.example", "password=x"], "", 64),
    (["account", "password", "ada@b.example", "--app", "phone", "--password-stdin"], "stylus\n", 0),
    (["account", "show", "ADA@b.example"], "", 0),
    (["account", "show", "ada@b.example", "--json"], "", 0),
    (["account", "remove", "conf@a.example"], "", UNAVAILABLE),
    (["alias", "add", "team@b.example", "to=ada@b.example, x@far.example"], "", 0),
    (["alias", "show", "team@b.example"], "", 0),
    (["alias", "remove", "none@b.example"], "", UNAVAILABLE),
    (["domain", "remove", "b.example"], "", UNAVAILABLE),  # it has accounts
    (["token", "remove", "none"], "", UNAVAILABLE),
    (["account", "list"], "", 0), (["account", "list", "--json"], "", 0), (["alias", "list"], "", 0), (["domain", "list"], "", 0),
    (["token", "list"], "", 0), (["token", "list", "--json"], "", 0),
]


def run(server, *args, stdin="", status=0):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PENFOLD_")}
    done = subprocess.run([PENFOLD, *args, "-c", str(server.dir / "penfold.conf")], input=stdin, capture_output=True, text=True, timeout=60, env=clean)
    assert done.returncode == status, (args, done)
    server.said = done.stderr
    return done.stdout


@pytest.fixture
def server(tmp_path):
    s = Server(tmp_path, "account conf@a.example {\n}\n")
    yield s
    if s.process:
        s.stop()


def test_the_same_with_and_without_a_server(tmp_path):
    said = []
    for name, runs in ("without", False), ("with", True):
        (tmp_path / name).mkdir()
        s = Server(tmp_path / name, "account conf@a.example {\n}\n")
        if runs:
            s.start()
        said.append([run(s, *args, stdin=stdin, status=status) for args, stdin, status in SESSION])
        assert os.path.exists(s.socket) == runs
        if runs:
            s.stop()
    assert said[0] == said[1]
    shown = json.loads(said[0][12])
    assert shown == {"Key": "ada@b.example", "name": "Ada L.", "HasPassword": True, "AppPasswords": ["phone"]}


def test_what_was_made_without_a_server_is_there_with_one(tmp_path):
    port = free_port()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout",
                    tmp_path / "key.pem", "-out", tmp_path / "cert.pem", "-subj", "/CN=localhost"], check=True, capture_output=True)
    s = Server(tmp_path, f"tls_certificate cert.pem\ntls_key key.pem\nlisten submission {{\n  address 127.0.0.1:{port}\n  policy submission\n"
                         "  tls starttls\n}\n")
    for args, stdin, status in SESSION:
        run(s, *args, stdin=stdin, status=status)
    token = run(s, "token", "add", "watch", "--role", "reader").strip()
    listed = run(s, "account", "list")
    s.start()
    assert run(s, "account", "list") == listed and "watch\treader" in run(s, "token", "list") and token
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for password, good in ("pencil", True), ("stylus", True), ("other", False):
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as c:
            c.starttls(context=context)
            if good:
                c.login("ada@b.example", password)
            else:
                pytest.raises(smtplib.SMTPAuthenticationError, c.login, "ada@b.example", password)
    s.stop()


def test_never_beside_a_server(server):
    server.start()
    os.rename(server.socket, server.socket + ".away")
    for args in (["account", "add", "eve@a.example", "--password-stdin"], ["account", "list"], ["token", "add", "t"]):
        run(server, *args, stdin="x\n", status=TEMPFAIL)
        assert f"(pid {server.role('store')[0]}) uses {server.dir}/data" in server.said and "--url" in server.said
    os.rename(server.socket + ".away", server.socket)
    assert "eve@" not in run(server, "account", "list")  # found by the configuration


def test_nothing_to_work_on(tmp_path):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PENFOLD_")}
    done = subprocess.run([PENFOLD, "account", "list", "-c", str(tmp_path / "none.conf")], capture_output=True, text=True, timeout=20, env=clean)
    assert done.returncode == UNAVAILABLE and "no server answers at" in done.stderr and "none.conf: No such file" in done.stderr
    done = subprocess.run([PENFOLD, "account", "list"], capture_output=True, text=True, timeout=20, env={**clean, "PENFOLD_URL": f"unix:{tmp_path}/s"})
    assert done.returncode == UNAVAILABLE and f"no server answers at unix:{tmp_path}/s" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")
def test_root_works_as_the_servers_user():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        s = Server(Path(folder))
        text = (s.dir / "penfold.conf").read_text()
        (s.dir / "penfold.conf").write_text(text.replace("user root", "user nobody"))
        run(s, "domain", "add", "b.example")
        made = [s.dir / "data", *(s.dir / "data").iterdir()]
        assert len(made) > 2 and all(f.stat().st_uid == pwd.getpwnam("nobody").pw_uid and not f.stat().st_mode & 0o077 for f in made)
        s.start()
        assert "b.example" in run(s, "domain", "list")
        s.stop()


def test_route_asks_who_is_here(server):
    def route(*more, status=0):
        return run(server, "route", "--from", "x@far.example", "--to", "team@a.example", *more, status=status)

    assert route(status=1).startswith("directory: the configuration alone\n")
    run(server, "account", "add", "ada@a.example", "--password-stdin", stdin="x\n")
    run(server, "alias", "add", "team@a.example", "to=ada@a.example")
    said = route()
    assert said.startswith(f"directory: the database in {server.dir}/data\n") and said.endswith("accepted:\n  mailbox ada@a.example\n")
    server.start()
    running = f"the running server at unix:{server.socket}"
    assert route() == said.replace(f"the database in {server.dir}/data", running)
    assert json.loads(route("--json"))["directory"] == running
    assert route("--directory", "database") == said
    run(server, "alias", "set", "team@a.example", "to=y@far.example")
    assert "accepted:\n  relay y@far.example" in route()
    assert "550 5.1.1" in route("--directory", "configuration", status=1)
    server.stop()
    route("--directory", "server", status=UNAVAILABLE)
    assert "no server answers" in server.said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")
def test_others_may_not():
    if subprocess.run(["test", "-x", PENFOLD], user="nobody", group="nogroup").returncode:
        pytest.skip("nobody else can run this build")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        s = Server(Path(folder)).start()
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PENFOLD_")}

        def ask(*args):
            return subprocess.run([PENFOLD, *args, "-c", str(s.dir / "penfold.conf")], user="nobody", group="nogroup", extra_groups=[],
                                  capture_output=True, text=True, timeout=20, env=clean)
        os.chmod(s.socket, 0o600)
        listed = ask("account", "list")
        assert listed.returncode == 77 and "is for root and the user the server runs as" in listed.stderr
        routed = ask("route", "--to", "x@a.example")
        assert routed.returncode == 1 and routed.stdout.startswith("directory: the configuration alone: ") and "Permission denied" in routed.stdout
        s.stop()
        assert ask("account", "list").returncode == 77

"""The command line: help, mistakes and their statuses, environment variables, and what the supervisor is handed."""
import os
import pwd
import socket
import stat
import subprocess
import sys
import tempfile

import pytest

from conftest import PENFOLD, ROOT

USAGE, DATAERR, NOINPUT, SOFTWARE, CANTCREAT, CONFIG = 64, 65, 66, 70, 73, 78
COMMANDS = ["sandbox", "serve", "send", "list", "show", "conf", "store", "account", "alias", "domain", "queue", "explain", "trace", "token",
            "log", "dns", "mx", "init", "route", "sendmail", "mailbox", "backup", "restore"]


def run(*args, env=None, stdin=""):
    """(status, stdout, stderr) of one penfold, in an environment without variables of ours."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PENFOLD_")}
    done = subprocess.run([PENFOLD, *args], capture_output=True, text=True, input=stdin, timeout=20, env={**clean, **(env or {})})
    return done.returncode, done.stdout, done.stderr


def test_help_names_every_command():
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    for name in COMMANDS:
        assert f"\n  {name} " in out
    assert run("help")[1] == out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command):
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"Usage: penfold {command}")
    assert run("help", command)[1] == out
    assert all(len(line) <= 100 for line in out.splitlines())
    assert os.path.exists(os.path.join(ROOT, "man", f"penfold-{command}.1"))


def test_version():
    status, out, err = run("--version")
    assert status == 0 and out.startswith("penfold ") and err == ""


def test_no_command_is_a_usage_error():
    status, out, err = run()
    assert status == USAGE and out == "" and "Usage: penfold" in err


@pytest.mark.parametrize("args, message", [
    (["sandox"], 'penfold: there is no command "sandox" (did you mean "sandbox"?)'),
    (["frobnicate"], 'penfold: there is no command "frobnicate"\n'),
    (["help", "serv"], '(did you mean "serve"?)'),
    (["sandbox", "--smpt", "1"], "penfold sandbox: unknown option --smpt (did you mean --smtp?)"),
    (["sandbox", "-x"], "penfold sandbox: unknown option -x"),
    (["sandbox", "word"], 'penfold sandbox: "word" is too much'),
    (["sandbox", "--smtp"], "penfold sandbox: --smtp needs a value (ADDRESS:PORT|off)"),
    (["conf"], "penfold conf: missing: check FILE | show [FILE] | defaults"),
    (["conf", "chek", "x"], 'penfold conf: "chek" is not one of check, show, defaults'),
    (["conf", "check"], "penfold conf: check needs a file, or - for stdin"),
    (["conf", "show", "--json=1"], "penfold conf: --json takes no value"),
    (["store", "chek"], 'penfold store: "chek" is not check'),
])
def test_usage_errors(args, message):
    status, out, err = run(*args)
    assert (status, out) == (USAGE, "")
    assert message in err


def test_all_mistakes_of_a_command_line_at_once():
    status, _, err = run("sandbox", "--smpt", "1", "--frobnicate", "--data")
    assert status == USAGE
    assert "--smpt" in err and "--frobnicate" in err and "--data needs a value" in err


def test_all_bad_values_at_once():
    status, _, err = run("sandbox", "--max-size", "50", "--http", "host:1", "--framing", "bend", "--set", "wrkers=1",
                         "--set", "novalue", "--set", "listen.smtp.adress=x", "--tls-cert", "/nowhere/cert.pem",
                         "--lmtp", "1025", env={"PENFOLD_RETAIN_AGE": "7"})
    assert status == USAGE
    for message in ['--max-size: smtp_message_max: "50" has no unit',
                    '--http: address: "host:1": the host is an IPv4 address',
                    '--framing: framing: "bend" is not one of auto, keep, reject, normalize',
                    '--set: unknown setting "wrkers" (did you mean "workers"?)',
                    '--set: "novalue" is not KEY=VALUE',
                    '--set: unknown setting "adress" of a listen (did you mean "address"?)',
                    "--tls-cert: tls_certificate: /nowhere/cert.pem: No such file or directory",
                    "--tls-cert: tls_certificate needs tls_key beside it",
                    "--lmtp: listen lmtp: 127.0.0.1:1025 is the address of listen smtp already",
                    'PENFOLD_RETAIN_AGE: retain_age: "7" has no unit']:
        assert message in err


@pytest.fixture
def libexec(tmp_path):
    """A supervisor that only tells what it was handed."""
    folder = tmp_path / "libexec"
    folder.mkdir()
    script = folder / "supervisor"
    script.write_text("#!/bin/sh\ncat <&3\necho \"argv: $*\"\n")
    script.chmod(0o755)
    return {"PENFOLD_LIBEXEC": str(folder), "HOME": str(tmp_path), "XDG_STATE_HOME": ""}


def test_what_a_sandbox_hands_over(libexec, tmp_path):
    status, out, err = run("sandbox", "--hostname", "box.example", env=libexec)
    assert (status, err) == (0, "")
    text, argv = out.rsplit("argv: ", 1)
    assert argv == f"sandbox {os.path.realpath(PENFOLD)} sandbox --print-conf --hostname box.example\n"
    assert run("sandbox", "--print-conf", "--hostname", "box.example", env=libexec)[1] == text
    data = tmp_path / ".local/state/penfold"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for line in ["mode sandbox", 'hostname "box.example"', f'data "{data}"', '    address "127.0.0.1:1025"',
                 '    address "127.0.0.1:1465"', '    address "127.0.0.1:8025"', "    tls implicit", "    framing keep"]:
        assert line + "\n" in text
    assert "listen lmtp" not in text


def test_flags_outrank_the_environment_and_that_the_file(libexec, tmp_path):
    file = tmp_path / "penfold.conf"
    file.write_text("workers 2\nretain_count 2\nlog_level debug\ntls_key key.pem\ntls_certificate cert.pem\n")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    tmp_path / "key.pem", "-out", tmp_path / "cert.pem", "-days", "3", "-subj", "/CN=localhost"],
                   check=True, capture_output=True)
    status, out, err = run("sandbox", "-c", str(file), "--workers=4", "--smtp", ":2525", "--smtps=off", "--lmtp",
                           f"unix:{tmp_path}/l.sock", env={**libexec, "PENFOLD_RETAIN_COUNT": "3", "PENFOLD_WORKERS": "3"})
    assert (status, err) == (0, "")
    for line in ["workers 4", "retain_count 3", "log_level debug", '    address "127.0.0.1:2525"',
                 f'    address "unix:{tmp_path}/l.sock"', f'tls_key "{tmp_path}/key.pem"']:
        assert line + "\n" in out
    assert "listen smtps" not in out


def test_a_file_may_describe_the_listeners_of_a_sandbox(libexec, tmp_path):
    file = tmp_path / "penfold.conf"
    file.write_text("listen smtp {\naddress 127.0.0.1:2600\nauth required\n}\nlisten http {\naddress off\n}\n")
    _, out, _ = run("sandbox", "-c", str(file), env=libexec)
    assert 'listen smtp {\n    address "127.0.0.1:2600"\n    policy sandbox\n    framing keep\n    auth required\n}' in out
    assert "listen smtps" in out and "listen http" not in out


def test_errors_of_a_file_have_its_name_and_lines(libexec, tmp_path):
    file = tmp_path / "penfold.conf"
    file.write_text("workers x\n\nretain_age 5\n")
    status, _, err = run("sandbox", "-c", str(file), env=libexec)
    assert status == CONFIG
    assert f"{file}:1: workers" in err and f"{file}:3: retain_age" in err
    assert run("sandbox", "-c", str(tmp_path / "none"), env=libexec)[0] == NOINPUT
    assert run("serve", "-c", str(tmp_path / "none"), env=libexec)[0] == NOINPUT


def test_auth_file_and_certificate_must_fit(libexec, tmp_path):
    users, cert = tmp_path / "users", tmp_path / "cert.pem"
    users.write_text("alice:secret\nbob\n")
    cert.write_text("no certificate\n")
    status, _, err = run("sandbox", "--auth-file", str(users), "--tls-cert", str(cert), "--tls-key", str(cert), env=libexec)
    assert status == USAGE
    assert f"--auth-file: auth_file: {users}: " in err and "2" in err
    assert f"--tls-cert: {cert}: no certificate" in err


def test_nothing_to_listen_on(libexec):
    status, _, err = run("sandbox", "--smtp", "off", "--smtps", "off", "--http", "off", env=libexec)
    assert status == USAGE and "nothing to listen on" in err


def test_a_data_directory_that_cannot_be_made(libexec, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run("sandbox", "--data", str(tmp_path / "file" / "data"), env=libexec)
    assert status in (USAGE, CANTCREAT) and str(tmp_path / "file") in err
    status, _, err = run("sandbox", "--data", str(tmp_path / "file"), env=libexec)
    assert status == USAGE and "is no directory" in err


def test_a_missing_installation_is_told(tmp_path):
    status, _, err = run("sandbox", "--data", str(tmp_path / "d"), env={"PENFOLD_LIBEXEC": str(tmp_path)})
    assert status == SOFTWARE and "supervisor" in err


def test_serve_hands_over_the_file(libexec, tmp_path):
    file = tmp_path / "penfold.conf"
    file.write_text("user root\ndata state\nlisten mx {\naddress 127.0.0.1:0\n}\n")
    status, out, err = run("serve", "-c", str(file), env=libexec)
    assert (status, err) == (0, "")
    assert f'data "{tmp_path}/state"\n' in out and "    policy mx\n    framing reject\n" in out
    assert out.endswith(f"argv: server {os.path.realpath(PENFOLD)} serve --print-conf -c {file}\n")


def test_store_check_of_nothing(tmp_path):
    status, _, err = run("store", "check", "--data", str(tmp_path / "none"))
    assert status == NOINPUT and str(tmp_path / "none") in err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")
def test_the_user_must_reach_the_data(libexec, tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    status, _, err = run("sandbox", "--user", "nobody", "--data", str(home / "data"), env=libexec)
    assert status == USAGE and "--data: data: the user nobody cannot use " in err
    status, out, err = run("sandbox", "--set", "user=root", "--data", str(home / "data"), env=libexec)
    assert (status, err) == (0, "") and 'user "root"' in out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")
def test_roots_data_directory_is_given_to_the_user(libexec):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        data = os.path.join(folder, "a", "b")
        status, _, err = run("sandbox", "--user", "nobody", "--data", data, env=libexec)
        assert (status, err) == (0, "")
        assert os.stat(data).st_uid == pwd.getpwnam("nobody").pw_uid
        assert stat.S_IMODE(os.stat(data).st_mode) == 0o700


def test_activated_sockets_move_behind_the_configuration(libexec, tmp_path):
    script = tmp_path / "libexec" / "supervisor"
    script.write_text("#!/bin/sh\nreadlink /proc/self/fd/4 /proc/self/fd/5\n")
    with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
        names = [os.readlink(f"/proc/self/fd/{s.fileno()}") for s in (a, b)]
        # As the service manager does: the sockets at 3 and 4, and the number of the process that becomes penfold.
        become = (f"import os, fcntl; high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in ({a.fileno()}, {b.fileno()})]\n"
                  "os.dup2(high[0], 3); os.dup2(high[1], 4); os.environ['LISTEN_PID'] = str(os.getpid())\n"
                  f"os.execv({PENFOLD!r}, ['penfold', 'sandbox'])")
        done = subprocess.run([sys.executable, "-c", become], capture_output=True, text=True, timeout=20,
                              pass_fds=[a.fileno(), b.fileno()], env={**os.environ, **libexec, "LISTEN_FDS": "2"})
    assert done.stdout.split() == names

"""Starting, crashing, reloading and stopping: what the supervisor promises, seen from outside."""
import os
import signal
import socket
import ssl
import stat
import subprocess
import time

import pytest

from conftest import PENFOLD, Penfold, Smtp, children, free_port, wait_until

MAIL = b"Subject: hello\r\n\r\nbody\r\n"


def log_of(p):
    with open(p.log) as f:
        return f.read()


def wait_log(p, text, count=1):
    wait_until(lambda: log_of(p).count(text) >= count, what=f"{count} of {text!r} in the log")


def send_one(port, tls=None):
    s = Smtp(port, tls=tls)
    s.cmd("EHLO client.example")
    reply = s.message(MAIL)
    s.close()
    return reply


def delivers(p):
    """One message goes in and is listed; a role that is just coming back may refuse or drop us for a moment."""
    def attempt():
        try:
            return send_one(p.smtp).startswith("250")
        except (OSError, AssertionError):
            return False
    return attempt


def listed(p):
    try:
        return p.messages()["total"]
    except OSError:
        return -1


def refuses(port):
    try:
        Smtp(port).close()
        return False
    except OSError:
        return True


def insecure():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def make_certificate(folder, name):
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(cert)],
                   check=True, capture_output=True)
    return cert, key


def served_name(port):
    """The certificate as bytes, from a new handshake."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw, insecure().wrap_socket(raw) as s:
        return s.getpeercert(binary_form=True)


def run(*args, env=None):
    return subprocess.run([PENFOLD, *args], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                          env=dict(os.environ, **(env or {})))


# ---- starting ----

def test_banner_names_addresses_and_a_command_that_works(penfold):
    p = penfold()
    lines = []
    for line in p.process.stdout:
        lines.append(line.decode())
        if b"Ctrl-C" in line:
            break
    text = "".join(lines)
    for part in (f"127.0.0.1:{p.smtp}", f"127.0.0.1:{p.smtps}", f"http://127.0.0.1:{p.http}", p.data):
        assert part in text
    command = next(line.split() for line in lines if " send --server" in line)
    sent = subprocess.run([PENFOLD, *command[1:]], capture_output=True, text=True, timeout=60)
    assert sent.returncode == 0, sent.stderr + sent.stdout
    wait_until(lambda: listed(p) == 1)


def test_ports_in_use_are_told_all_at_once_and_nothing_starts(tmp_path):
    with socket.socket() as a, socket.socket() as b:
        for s in (a, b):
            s.bind(("127.0.0.1", 0))
            s.listen()
        smtp, http = a.getsockname()[1], b.getsockname()[1]
        done = run("sandbox", "--data", str(tmp_path / "data"), "--smtp", f"127.0.0.1:{smtp}", "--smtps", "off",
                   "--http", f"127.0.0.1:{http}")
    assert done.returncode == 69
    assert f"another program listens on 127.0.0.1:{smtp}; choose another with --smtp" in done.stderr
    assert f"another program listens on 127.0.0.1:{http}; choose another with --http" in done.stderr
    assert "store_open" not in done.stderr
    assert done.stdout == ""


def test_second_instance_on_the_same_directory_is_refused(penfold):
    p = penfold()
    other = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    done = run("sandbox", "--data", p.data, "--smtp", other[0], "--smtps", other[1], "--http", other[2])
    assert done.returncode in (73, 75), done.stderr
    assert p.data in done.stderr
    assert send_one(p.smtp).startswith("250")


def test_data_that_cannot_be_a_directory_is_told(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    done = run("sandbox", "--data", str(file / "below"))
    assert done.returncode in (64, 73, 74, 77)
    assert str(file) in done.stderr


def test_wrong_certificate_is_told(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    cert, _ = make_certificate(tmp_path / "a", "a.example")
    _, key = make_certificate(tmp_path / "b", "b.example")
    done = run("sandbox", "--data", str(tmp_path / "data"), "--tls-cert", str(cert), "--tls-key", str(key))
    assert done.returncode in (64, 78), done.stderr
    assert str(key) in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to drop")
def test_root_is_dropped_by_a_server(tmp_path):
    os.chmod(tmp_path, 0o755)
    for folder in list(tmp_path.parents)[:2]:
        os.chmod(folder, 0o755)  # pytest makes them for root alone
    file, smtp, http = tmp_path / "penfold.conf", free_port(), free_port()
    text = (f"data {tmp_path / 'data'}\nlisten smtp {{\n  address 127.0.0.1:{smtp}\n}}\n"
            f"listen http {{\n  address 127.0.0.1:{http}\n  protocol http\n  access open\n}}\nroute all {{\n  action capture\n}}\n")
    file.write_text("user no-such-user\n" + text)
    done = run("serve", "-c", str(file))
    assert done.returncode in (77, 78) and "no-such-user" in done.stderr
    file.write_text("user nobody\n" + text)
    p = Penfold(tmp_path / "data", ["-c", str(file)], command="serve", ports=False)
    p.smtp, p.http = smtp, http
    p.start()
    try:
        assert send_one(smtp).startswith("250")
        wait_until(lambda: " start: " in open(p.log).read(), what="all roles")  # the page answers before the last one is ready
        for role, pids in p.roles().items():
            for pid in pids:
                with open(f"/proc/{pid}/status") as f:
                    status = dict(line.split(":", 1) for line in f)
                assert "0" not in status["Uid"].split(), role
                assert status["Groups"].strip() == "", role
                assert status["NoNewPrivs"].strip() == "1", role
                assert status["Seccomp"].strip() == "2" or "build-san" in PENFOLD or "-san" in PENFOLD, role
        os.kill(p.role("store")[0], signal.SIGKILL)
        wait_until(delivers(p))
    finally:
        p.stop()


def test_own_certificate_is_made_once_and_kept_private(penfold, tmp_path):
    p = penfold()
    key = os.path.join(p.data, "tls", "key.pem")
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    first = served_name(p.smtps)
    p.stop()
    again = penfold(data=p.data)
    assert served_name(again.smtps) == first


def test_sockets_from_the_service_manager_are_used(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        argv = [PENFOLD, "sandbox", "--data", str(tmp_path / "data"), "--smtp", f"127.0.0.1:{port}", "--smtps", "off",
                "--http", f"127.0.0.1:{free_port()}"]
        script = 'exec 3<&"$1"; shift; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=smtp exec "$@"'
        p = subprocess.Popen(["bash", "-c", script, "bash", str(s.fileno()), *argv], pass_fds=[s.fileno()],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        for line in p.stdout:
            if b"Ctrl-C" in line:
                break
        assert p.poll() is None, p.stderr.read()
        assert send_one(port).startswith("250")
    finally:
        p.terminate()
        p.communicate(timeout=30)


def test_unix_socket_stale_file_is_replaced_and_removed(penfold, tmp_path):
    path = tmp_path / "lmtp"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
    p = penfold("--lmtp", f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(str(path))
        assert s.recv(100).startswith(b"220")
    p.stop()
    assert not path.exists()


# ---- crashing ----

@pytest.mark.parametrize("role", ["smtpd", "store", "httpd", "content"])
def test_a_crashed_role_comes_back_and_nothing_accepted_is_lost(penfold, role):
    p = penfold()
    assert send_one(p.smtp).startswith("250")
    victims = p.role(role)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)

    def replaced():
        now = p.roles().get(role, [])
        return len(now) == len(victims) and not set(now) & set(victims)
    wait_until(replaced)
    wait_until(delivers(p))
    wait_until(lambda: listed(p) >= 2)
    assert p.process.poll() is None
    assert f'which="{role}"' in log_of(p) and "role_crash" in log_of(p)


def test_restarts_are_counted(penfold):
    p = penfold()
    os.kill(p.role("content")[0], signal.SIGKILL)
    wait_until(lambda: b'penfold_role_restarts_total{role="content"} 1' in p.api("/metrics", raw=True))
    send_one(p.smtp)
    wait_until(lambda: b'penfold_events_total{event="smtp_accepted"} 1' in p.api("/metrics", raw=True))


def test_roles_end_with_the_supervisor(penfold):
    p = penfold()
    p.kill()  # waits for all of them


# ---- reloading ----

def test_reload_drops_no_session(penfold):
    p = penfold()
    s = Smtp(p.smtp)
    s.cmd("EHLO client.example")
    assert s.cmd("MAIL FROM:<a@example.com>").startswith("250")
    p.process.send_signal(signal.SIGHUP)
    wait_log(p, "configuration reloaded")
    assert s.cmd("RCPT TO:<b@example.com>").startswith("250")
    assert s.cmd("RSET").startswith("250")
    assert s.message(MAIL).startswith("250")
    s.close()
    assert send_one(p.smtp).startswith("250")


def test_reload_takes_a_new_certificate_and_refuses_a_bad_one(penfold, tmp_path):
    cert, key = make_certificate(tmp_path, "one.example")
    p = penfold("--tls-cert", str(cert), "--tls-key", str(key))
    first = served_name(p.smtps)
    old = Smtp(p.smtps, tls=insecure())
    make_certificate(tmp_path, "two.example")
    p.process.send_signal(signal.SIGHUP)
    wait_log(p, "configuration reloaded")
    wait_until(lambda: served_name(p.smtps) != first)
    second = served_name(p.smtps)
    assert old.cmd("EHLO client.example").startswith("250")
    old.close()
    key.write_text("no key\n")
    p.process.send_signal(signal.SIGHUP)
    wait_log(p, "reload_refused")
    assert served_name(p.smtps) == second


def test_reload_takes_settings_and_listeners_from_the_file(penfold, tmp_path):
    file, port = tmp_path / "penfold.conf", free_port()
    file.write_text("smtp_message_max 1MiB\n")
    p = penfold("--config", str(file))
    file.write_text(f"smtp_message_max 2MiB\nlisten extra {{\n  address 127.0.0.1:{port}\n}}\n")
    p.process.send_signal(signal.SIGHUP)
    wait_log(p, "configuration reloaded")
    wait_until(lambda: "SIZE 2097152" in Smtp(p.smtp).cmd("EHLO client.example"))
    assert send_one(port).startswith("250")
    other = free_port()
    file.write_text(f"smtp_message_max 2MiB\nlisten extra {{\n  address 127.0.0.1:{other}\n}}\n")
    p.process.send_signal(signal.SIGHUP)
    wait_log(p, "configuration reloaded", 2)
    assert send_one(other).startswith("250")
    wait_until(lambda: refuses(port))
    file.write_text("smtp_message_max lots\nnonsense 1\n")
    p.process.send_signal(signal.SIGHUP)
    wait_log(p, "reload_refused")
    assert "nonsense" in log_of(p) and "lots" in log_of(p)
    assert "SIZE 2097152" in Smtp(p.smtp).cmd("EHLO client.example")
    file.write_text("smtp_message_max 2MiB\n")
    p.process.send_signal(signal.SIGHUP)
    wait_log(p, "configuration reloaded", 3)
    wait_until(lambda: refuses(other))


def test_log_file_is_opened_anew(penfold, tmp_path):
    file = tmp_path / "penfold.log"
    p = penfold("--log", "file", "--log-file", str(file))
    send_one(p.smtp)
    wait_until(lambda: "smtp_accepted" in file.read_text())
    file.rename(tmp_path / "old.log")
    p.process.send_signal(signal.SIGHUP)
    wait_until(lambda: file.exists() and "configuration reloaded" in file.read_text())
    # the supervisor has said so; each worker writes into the new file as soon as it is handed to it
    wait_until(lambda: send_one(p.smtp) and "smtp_accepted" in file.read_text())


# ---- stopping ----

@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_stop_is_clean_and_leaves_no_process(penfold, sig):
    p = penfold()
    pids = [pid for some in p.roles().values() for pid in some]
    idle = Smtp(p.smtp)
    assert p.stop(sig) == 0
    idle.close()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    assert "role_crash" not in log_of(p) and "role_stuck" not in log_of(p)
    ends = [line for line in log_of(p).splitlines() if "role_exit" in line]
    assert len(ends) == len(pids) and all("status=0" in line for line in ends)


def test_roles_stop_in_order(penfold):
    p = penfold()
    p.stop()
    ends = [line.split('which="')[1].split('"')[0] for line in log_of(p).splitlines() if "role_exit" in line]
    assert [e for i, e in enumerate(ends) if e not in ends[:i]] == ["smtpd", "httpd", "content", "store"]


def test_second_interrupt_ends_at_once(penfold):
    p = penfold("--set", "stop_timeout=60s")
    s = Smtp(p.smtp)
    s.cmd("EHLO client.example")
    for line in ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA"):
        s.cmd(line)
    for pid in p.role("smtpd"):
        os.kill(pid, signal.SIGSTOP)  # will not end by itself
    p.process.send_signal(signal.SIGINT)
    time.sleep(0.1)  # two signals at the same moment are one
    start = time.monotonic()
    p.process.send_signal(signal.SIGINT)
    p.process.wait(20)
    assert time.monotonic() - start < 5
    s.close()


def test_a_stuck_role_is_killed_after_stop_timeout(penfold):
    p = penfold("--set", "stop_timeout=1s")
    for pid in p.role("httpd"):
        os.kill(pid, signal.SIGSTOP)
    p.process.send_signal(signal.SIGTERM)
    assert p.process.wait(20) == 0
    assert "role_stuck" in log_of(p)


def test_service_manager_hears_how_we_are(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        path = str(tmp_path / "notify")
        s.bind(path)
        s.settimeout(30)
        p = Penfold(tmp_path / "data", env={"NOTIFY_SOCKET": path}).start()
        try:
            assert s.recv(1000).startswith(b"READY=1")
            p.process.send_signal(signal.SIGHUP)
            assert s.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert s.recv(1000).startswith(b"READY=1")
        finally:
            p.stop()
        assert s.recv(1000).startswith(b"STOPPING=1")

"""penfold dns and penfold mx: a resolver of the command's own, asked and explained."""
import json
import subprocess

import pytest

from conftest import PENFOLD
from dns import Faults, Server, needs_nsd

ZONES = {
    "plain.example": "@ MX 20 b\n@ MX 10 a\na A 192.0.2.1\na AAAA 2001:db8::1\nb CNAME a\n@ TXT \"v=spf1 -all\"\n"
                     "null MX 0 .\nself MX 10 us.test.\nself MX 5 a\nlocal MX 10 l\nl A 127.0.0.1\nimplicit A 192.0.2.9\n",
    "signed.example": ("@ MX 10 mx\nmx A 192.0.2.2\n_25._tcp.mx TLSA 3 1 1 " + "ab" * 32 + "\n", "signed"),
    "bogus.example": ("@ MX 10 mx\nmx A 192.0.2.3\n", "bogus"),
}

pytestmark = needs_nsd


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    s = Server(tmp_path_factory.mktemp("dns"), ZONES)
    yield s
    s.stop()


@pytest.fixture
def run(server):
    def go(*args, anchor=None):
        return subprocess.run([PENFOLD, *args, "--dns", server.address, "--anchor", anchor or server.anchor],
                              capture_output=True, text=True)
    return go


def test_dns(run):
    done = run("dns", "mx", "PLAIN.example")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("plain.example MX: found") and "  10 a.plain.example\n" in done.stdout
    assert run("dns", "TXT", "plain.example").stdout.endswith("  v=spf1 -all\n")
    tlsa = json.loads(run("dns", "TLSA", "_25._tcp.mx.signed.example", "--json").stdout)
    assert tlsa["secure"] and tlsa["records"] == [{"value": "030101" + "ab" * 32}]


def test_dns_that_has_none(run):
    assert run("dns", "MX", "a.plain.example").returncode == 69
    assert run("dns", "A", "nowhere.plain.example").returncode == 69
    bogus = run("dns", "MX", "bogus.example")
    assert bogus.returncode == 75 and "bogus: " in bogus.stdout
    assert run("dns", "MX", "bogus.example", anchor="none").returncode == 0
    assert run("dns", "A", "elsewhere.example").returncode == 75


def test_mistakes(run, tmp_path):
    assert run("dns", "NOTYPE", "a.example").returncode == 64
    assert run("dns", "A", "a b").returncode == 64
    assert run("dns", "A", "a.example", anchor=str(tmp_path / "none")).returncode == 78
    assert subprocess.run([PENFOLD, "mx", "a.example", "--dns", "nonsense"], capture_output=True).returncode == 78


def test_mx(run):
    out = json.loads(run("mx", "plain.example", "--json").stdout)
    assert [(h["preference"], h["name"], h["addresses"]) for h in out["hosts"]] == [
        (10, "a.plain.example", ["2001:db8::1", "192.0.2.1"]), (20, "b.plain.example", ["2001:db8::1", "192.0.2.1"])]
    assert out["hosts"][1]["canonical"] == "a.plain.example" and "is an alias of" in out["story"]
    assert out["site"] == "a.plain.example b.plain.example" and not out["implicit"]
    assert json.loads(run("mx", "signed.example", "--json").stdout)["secure"]
    assert json.loads(run("mx", "implicit.plain.example", "--json").stdout)["implicit"]
    text = run("mx", "plain.example").stdout
    assert "in this order:\n  10 a.plain.example\n    2001:db8::1\n" in text


def test_mx_that_cannot_be(run):
    for domain, status, reply in (("null.plain.example", 69, "556 5.1.10"), ("nowhere.plain.example", 69, "550 5.1.2"),
                                  ("local.plain.example", 69, "550 5.4.4"), ("bogus.example", 75, "451 4.7.5"),
                                  ("elsewhere.example", 75, "451 4.4.3")):
        done = run("mx", domain)
        assert done.returncode == status and reply in done.stdout, done.stdout
    assert run("mx", "local.plain.example", "--loopback").returncode == 0


def test_our_own_name_and_settings(server, tmp_path):
    """From a configuration: hostname, dns, dns_anchor."""
    file = tmp_path / "penfold.conf"
    file.write_text(f"hostname us.test\ndns {server.address}\ndns_anchor {server.anchor}\ndata {tmp_path}/data\n")
    done = subprocess.run([PENFOLD, "mx", "self.plain.example", "-c", str(file), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    assert [h["name"] for h in out["hosts"]] == ["a.plain.example"] and "preference 10 is this server's" in out["story"]


def test_a_host(run):
    out = json.loads(run("mx", "--host", "b.plain.example", "--json").stdout)
    assert out["hosts"][0]["addresses"] == ["2001:db8::1", "192.0.2.1"]
    assert run("mx", "--host", "null.plain.example").returncode == 75


def test_a_server_that_fails():
    f = Faults(lambda name, kind, packet: 2)
    done = subprocess.run([PENFOLD, "dns", "A", "a.example", "--dns", f.address, "--anchor", "none"], capture_output=True, text=True)
    f.close()
    assert done.returncode == 75 and "SERVFAIL" in done.stdout

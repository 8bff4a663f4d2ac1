"""penfold init: what it writes is a configuration that holds, and it never overwrites."""
import os
import stat
import subprocess

import pytest

from conftest import PENFOLD


def init(path, *args):
    return subprocess.run([PENFOLD, "init", *args, "--dir", str(path / "conf"), "--data", str(path / "data"), "--user", "root"],
                          capture_output=True, text=True)


def test_the_result_holds(tmp_path):
    done = init(tmp_path, "Example.ORG")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "conf" / "penfold.conf"
    check = subprocess.run([PENFOLD, "conf", "check", str(file)], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr
    text = file.read_text()
    assert 'hostname "mail.example.org"' in text and "domain example.org {" in text
    assert "@" not in text.replace("@example", "").replace("ada+lists@", "").replace("ada@", "")  # every word is filled in
    key = tmp_path / "conf" / "tls" / "key.pem"
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    shown = subprocess.run(["openssl", "x509", "-in", str(tmp_path / "conf" / "tls" / "cert.pem"), "-noout", "-text"],
                           capture_output=True, text=True).stdout
    assert "DNS:mail.example.org" in shown


def test_what_to_publish(tmp_path):
    out = init(tmp_path, "example.org", "--hostname", "MX1.example.net").stdout
    assert "example.org.  MX    10 mx1.example.net." in out
    assert 'example.org.  TXT   "v=spf1 mx -all"' in out
    assert "_dmarc.example.org.  TXT" in out and "rua=mailto:postmaster@example.org" in out
    assert "mx1.example.net.  A     <" in out  # a gap that is seen to be one
    assert "DKIM" not in out and "_mta-sts" not in out  # nothing that is not there


@pytest.mark.parametrize("there", ["penfold.conf", "tls/cert.pem", "tls/key.pem"])
def test_nothing_is_overwritten(tmp_path, there):
    file = tmp_path / "conf" / there
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    done = init(tmp_path, "example.org")
    assert done.returncode == 73 and there in done.stderr
    assert file.read_text() == "mine"
    assert sorted(p.name for p in (tmp_path / "conf").rglob("*") if p.is_file()) == [file.name]


@pytest.mark.parametrize("args", [[""], ["a b"], ["b\u00fccher.example"], ["example.org."], ["example.org", "--hostname", "x/y"], []])
def test_names_that_are_none(tmp_path, args):
    done = init(tmp_path, *args)
    assert done.returncode == 64
    assert not (tmp_path / "conf").exists()


def test_paths_that_would_have_to_be_quoted(tmp_path):
    done = subprocess.run([PENFOLD, "init", "example.org", "--dir", str(tmp_path / 'a"b')], capture_output=True, text=True)
    assert done.returncode == 64 and not (tmp_path / 'a"b').exists()

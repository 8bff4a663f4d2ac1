"""`make install` gives a tree that works by itself, from another place than the build."""
import os
import subprocess

import pytest

import conftest
from conftest import BUILD, ROOT, Penfold, Smtp


@pytest.fixture
def installed(tmp_path):
    san = ["SAN=1"] if BUILD.endswith("-san") else []
    subprocess.run(["make", "-s", *san, "install", f"DESTDIR={tmp_path}/root", "PREFIX=/usr"], cwd=ROOT, check=True, timeout=600, stdout=subprocess.DEVNULL)
    return tmp_path / "root/usr"


def test_an_installed_sandbox_serves(installed, tmp_path, monkeypatch):
    monkeypatch.setattr(conftest, "PENFOLD", str(installed / "bin/penfold"))
    box = Penfold(tmp_path / "data").start()
    try:
        assert Smtp(box.smtp).banner.startswith("220 ")
        assert box.messages()["total"] == 0
    finally:
        assert box.stop() == 0


def test_manual_pages_and_unit_are_installed(installed):
    for path in ("share/man/man1/penfold.1", "share/man/man1/penfold-sandbox.1", "share/man/man5/penfold.conf.5"):
        assert (installed / path).is_file()
    unit = (installed / "lib/systemd/system/penfold.service").read_text()
    assert "@PREFIX@" not in unit and "ExecStart=/usr/bin/penfold serve" in unit
    assert os.access(installed / "libexec/penfold/smtpd", os.X_OK)

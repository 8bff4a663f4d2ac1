"""penfold conf: check, show, defaults; and the man pages that come from the same tables."""
import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT
from test_cli import CONFIG, NOINPUT, run

BAD = """\
hostname mx.example.org   # a comment
smtp_mesage_max 50MiB
smtp_message_max 50
workers 1
workers 2
tls_key /nowhere/key.pem
greeting "no end
listen a {
  address 127.0.0.1:25
listen b {
  address localhost:25
  proxy 10.0.0.1/8
  protocol pop
}
lisen c {
  address 127.0.0.1:26
}
}
user nobody-of-this-name
"""

COMPLAINTS = """\
2: unknown setting "smtp_mesage_max" (did you mean "smtp_message_max"?)
3: smtp_message_max: "50" has no unit; it must be a size with a unit (B KiB MiB GiB) from 64KiB to 4GiB
5: workers is set twice, first in line 4
6: tls_key needs tls_certificate beside it
6: tls_key: /nowhere/key.pem: No such file or directory
7: the closing quote is missing
10: the } of the block that begins in line 8 is missing
11: listen b: 127.0.0.1:25 is the address of listen a already
12: proxy: "10.0.0.1/8": 10.0.0.1/8 has bits set behind its prefix
13: protocol: "pop" is not one of smtp, lmtp, http
15: unknown setting "lisen" (did you mean "listen"?)
18: there is no block that this } ends
"""


def test_check_tells_everything_at_once(tmp_path):
    file = tmp_path / "penfold.conf"
    file.write_text(BAD)
    status, out, err = run("conf", "check", str(file))
    assert (status, out) == (CONFIG, "")
    expected = [f"{file}:{line}" for line in COMPLAINTS.splitlines()]
    if os.geteuid() == 0:
        expected.append(f'{file}:19: user: there is no user "nobody-of-this-name" on this system: create it, or set `user`')
    assert err.splitlines() == expected


ROUTED = """\
user root
domain example.org {
}
account ada@example.org {
}
route out {
    auth yes
    action smarthost
    host smart.example:587
    user u
    password_file secret
}
test in {
    from x@far.example
    to ada+lists@example.org
    expect mailbox ada@example.org/lists
}
test relay {
    from x@far.example
    to y@far.example
    expect relay
}
"""


def test_test_blocks_run_and_tell_their_story(tmp_path):
    file = tmp_path / "penfold.conf"
    file.write_text(ROUTED)
    (tmp_path / "secret").write_text("s\n")
    status, out, err = run("conf", "check", str(file))
    assert (status, out) == (CONFIG, "")
    assert err == (f"{file}:18: test relay failed: relay did not come\n    expected: relay\n"
                   "    got: reject 550 5.7.1 relaying needs authentication\n    because:\n      y@far.example\n"
                   f"      route out ({file}:6) does not match: the client is not authenticated\n"
                   "      no route matches: y@far.example is elsewhere\n"
                   "      rejected: 550 5.7.1 relaying needs authentication\n"
                   f"{file}: 1 of 2 tests failed\n")
    file.write_text(ROUTED.replace("expect relay", "expect reject 550 5.7.1"))
    assert run("conf", "check", str(file)) == (0, f"{file}: no errors, 2 tests passed\n", "")
    shown = run("conf", "show", str(file))[1]
    assert f'password_file "{tmp_path}/secret"' in shown  # as every path, from the file's directory
    file.write_text(ROUTED.replace("account ada@example.org", "account ada@other.example"))
    status, _, err = run("conf", "check", str(file))
    assert status == CONFIG and "other.example" in err


def test_route_shows_which_rule_and_why(tmp_path):
    file = tmp_path / "penfold.conf"
    file.write_text(ROUTED)
    (tmp_path / "secret").write_text("s\n")
    status, out, err = run("route", "-c", str(file), "--directory", "configuration", "--from", "ada@example.org", "--auth", "ada@example.org",
                           "--to", "y@far.example")
    assert (status, err) == (0, "")
    assert out == (f"directory: the configuration alone\ny@far.example\nroute out ({file}:6) matches\nsent by the smarthost smart.example:587\n"
                   "accepted:\n  smarthost y@far.example at smart.example:587 (route out)\n")
    status, out, _ = run("route", "-c", str(file), "--to", "<ada@example.org>", "--to", "no@example.org", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 1 and [row["verdict"] for row in rows] == ["accept", "reject"]
    assert rows[0]["deliveries"][0]["kind"] == "mailbox" and rows[1]["code"] == 550
    assert run("route", "-c", str(file))[0] == 64
    assert run("route", "-c", str(file), "--to", "a@b", "--client", "here")[0] == 64
    assert run("route", "-c", str(tmp_path / "none"), "--to", "a@b")[0] == NOINPUT


def test_check_of_a_good_file_and_of_stdin(tmp_path):
    text = "user root\nlisten a {\n\taddress [::1]:25\n}\n"
    file = tmp_path / "penfold.conf"
    file.write_text(text)
    assert run("conf", "check", str(file)) == (0, f"{file}: no errors\n", "")
    assert run("conf", "check", "-", stdin=text)[0] == 0
    status, _, err = run("conf", "check", "-", stdin="x 1\n")
    assert status == CONFIG and err.startswith('stdin:1: unknown setting "x"')


def test_files_that_are_none(tmp_path):
    status, _, err = run("conf", "check", str(tmp_path / "none"))
    assert status == NOINPUT and "No such file or directory" in err
    assert run("conf", "check", str(tmp_path))[0] == NOINPUT
    big = tmp_path / "big"
    big.write_bytes(b"#" * (1024 * 1024 + 1))
    status, _, err = run("conf", "check", str(big))
    assert status == NOINPUT and "larger than" in err
    binary = tmp_path / "binary"
    binary.write_bytes(bytes(range(256)))
    assert run("conf", "check", str(binary))[0] == CONFIG


def test_show_is_what_differs_and_reads_back_the_same(tmp_path):
    file = tmp_path / "penfold.conf"
    file.write_text("user root\nworkers 0\nretain_age 48h\ngreeting \"say \\\"hi\\\" # \\\\\"\nlog_format json\n"
                    "listen a {\naddress localhost:2500\nxclient ::1,10.0.0.0/8 unix\npolicy submission\n}\n"
                    "listen b {\naddress off\n}\n")
    status, once, err = run("conf", "show", str(file))
    assert (status, err) == (0, "")
    assert once == ('user "root"\nlog_format json\ngreeting "say \\"hi\\" # \\\\"\nretain_age 2d\nlisten a {\n'
                    '    address "127.0.0.1:2500"\n    policy submission\n    framing normalize\n'
                    "    xclient ::1, 10.0.0.0/8, unix\n}\n")
    again = tmp_path / "again.conf"
    again.write_text(once)
    assert run("conf", "show", str(again))[1] == once
    shown = json.loads(run("conf", "show", str(file), "--json")[1])
    assert {"name": "retain_age", "value": "2d", "line": 3} in shown["settings"]
    assert shown["listen"][0]["name"] == "a"


def defaults():
    return json.loads(run("conf", "defaults", "--json")[1])


def test_every_default_is_a_value_of_its_setting():
    rows = defaults()
    assert len(rows["settings"]) > 40 and len(rows["listen"]) >= 10
    quoted = [f"{row['name']} \"{row['default']}\"" for row in rows["settings"]]
    text = "\n".join(quoted) + "\n"
    status, out, err = run("conf", "show", "-", stdin=text.replace('user "penfold"', 'user "root"'))
    assert (status, err) == (0, "")
    assert out == 'user "root"\n'


def test_defaults_is_a_configuration_once_uncommented():
    status, out, _ = run("conf", "defaults")
    assert status == 0
    assert run("conf", "check", "-", stdin=out + "user root\n")[0] == 0
    text = re.sub(r"(?m)^( *)#(\w+ |\})", r"\1\2", out).replace('user "penfold"', 'user "root"')
    for kind, name, needed in BLOCKS:
        begin = text.index(f"{kind} NAME {{")
        block = text[begin:text.index("\n}", begin)]
        filled = block.replace("NAME", name, 1)
        for key, value in needed.items():
            filled = filled.replace(f'{key} ""', f"{key} {value}", 1)
        text = text.replace(block, filled, 1)
    status, _, err = run("conf", "check", "-", stdin=text)
    assert (status, err) == (0, "")


BLOCKS = [  # each with what it cannot be without
    ("listen", "a", {"address": "off"}), ("domain", "a.example", {}), ("account", "ada@a.example", {}),
    ("alias", "team@a.example", {"to": "ada@a.example"}), ("route", "a", {}), ("rewrite", "a", {"subject": "[a]"}),
    ("site", "a", {"match": "b.example"}), ("test", "a", {"to": "ada@a.example", "expect": "mailbox"}),
]


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_man_pages_are_clean_and_fresh():
    pages = [os.path.join(ROOT, "man", name) for name in sorted(os.listdir(os.path.join(ROOT, "man")))]
    lint = subprocess.run(["mandoc", "-Tlint", "-W", "warning", *pages], capture_output=True, text=True, timeout=60)
    assert lint.stdout + lint.stderr == ""
    fresh = subprocess.run([os.path.join(ROOT, "tools", "mkman"), "--check"], capture_output=True, text=True, timeout=60,
                           env={**os.environ, "BUILD": BUILD})
    assert (fresh.returncode, fresh.stdout, fresh.stderr) == (0, "", "")


def test_every_setting_is_in_the_manual():
    page = open(os.path.join(ROOT, "man", "penfold.conf.5")).read()
    rows = defaults()
    assert set(rows) == {"settings"} | {kind for kind, _, _ in BLOCKS}
    for row in sum(rows.values(), []):
        assert f".It Ic {row['name']}\n" in page

"""Real senders deliver a multipart UTF-8 message with an attachment over plain, STARTTLS and implicit TLS; the API gives equal bytes back."""
import base64
import os
import re
import smtplib
import ssl
import subprocess

import pytest

from conftest import ROOT

INTEROP = os.path.join(ROOT, "tests/interop")
FROM, TO = "sender@example.com", "rcpt@example.com"


def message(tag):
    """CRLF lines, raw UTF-8 in the text, a line that starts with a dot, a long line, an attachment with every byte value."""
    attachment = base64.encodebytes(bytes(range(256)) * 40).decode().splitlines()
    lines = [
        f"From: Zoë Sender <{FROM}>", f"To: <{TO}>", f"Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe_{tag}?=", "Date: Mon, 23 Nov 2026 10:00:00 +0000",
        f"Message-ID: <{tag}@example.com>", "MIME-Version: 1.0", 'Content-Type: multipart/mixed; boundary="edge"', "",
        "--edge", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "",
        "Grüße aus Köln — 你好, здравствуйте, 🎉", ".", "..two dots", "x" * 900, "",
        "--edge", 'Content-Type: application/octet-stream; name="all.bin"', "Content-Transfer-Encoding: base64",
        'Content-Disposition: attachment; filename="all.bin"', "", *attachment, "--edge--", "",
    ]
    return "\r\n".join(lines).encode()


def run(argv, **more):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, **more)
    assert p.returncode == 0, p.stdout.decode(errors="replace")
    return p.stdout.decode(errors="replace")


def swaks(box, tls, path):
    port = box.smtps if tls == "implicit" else box.smtp
    flag = {"none": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[tls]
    with open(path, "rb+") as f:  # swaks ends the message with a line end of its own
        f.truncate(os.path.getsize(path) - 2)
    run(["swaks", "--server", "127.0.0.1", "--port", str(port), "--from", FROM, "--to", TO, "--data", "@" + path, *flag])


def curl(box, tls, path):
    url = f"smtps://127.0.0.1:{box.smtps}" if tls == "implicit" else f"smtp://127.0.0.1:{box.smtp}"
    run(["curl", "-sS", "-k", "--url", url, *(["--ssl-reqd"] if tls == "starttls" else []), "--mail-from", FROM, "--mail-rcpt", TO, "--upload-file", path])


def msmtp(box, tls, path):
    port = box.smtps if tls == "implicit" else box.smtp
    flags = {"none": ["--tls=off"], "starttls": ["--tls=on", "--tls-starttls=on"], "implicit": ["--tls=on", "--tls-starttls=off"]}[tls]
    with open(path, "rb") as f:
        text = f.read().replace(b"\r\n", b"\n")  # what a mail program on Unix gives it
    run(["msmtp", "--file=/dev/null", "--host=127.0.0.1", f"--port={port}", f"--from={FROM}", *flags, "--tls-certcheck=off", "--auth=off", TO], input=text)


def python_smtplib(box, tls, path):
    context = ssl._create_unverified_context()
    if tls == "implicit":
        client = smtplib.SMTP_SSL("127.0.0.1", box.smtps, context=context, timeout=20)
    else:
        client = smtplib.SMTP("127.0.0.1", box.smtp, timeout=20)
    with client, open(path, "rb") as f:
        if tls == "starttls":
            client.starttls(context=context)
        client.sendmail(FROM, [TO], f.read(), mail_options=["BODY=8BITMIME"])


def nodemailer(box, tls, path):
    if not os.path.isdir(os.path.join(INTEROP, "node_modules/nodemailer")):
        run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=INTEROP)
    port = box.smtps if tls == "implicit" else box.smtp
    run(["node", os.path.join(INTEROP, "nodemailer.mjs"), str(port), tls, path])


@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
@pytest.mark.parametrize("sender", [swaks, curl, msmtp, python_smtplib, nodemailer], ids=lambda s: s.__name__)
def test_equal_bytes(sandbox, tmp_path, sender, tls):
    body = message(f"{sender.__name__}-{tls}".replace("_", "-"))
    path = str(tmp_path / "message.eml")
    with open(path, "wb") as f:
        f.write(body)
    before = sandbox.messages()["total"]
    sender(sandbox, tls, path)
    page = sandbox.messages(limit=1)
    assert page["total"] == before + 1
    newest = page["messages"][0]
    assert sandbox.raw(newest["ID"]) == body
    shown = sandbox.api(f"/api/v1/message/{newest['ID']}")
    assert "Grüße" in shown["Subject"] and "你好" in shown["Text"] and "🎉" in shown["Text"]
    assert [a["FileName"] for a in shown["Attachments"]] == ["all.bin"]
    part = shown["Attachments"][0]["PartID"]
    assert sandbox.api(f"/api/v1/message/{newest['ID']}/part/{part}", raw=True) == bytes(range(256)) * 40
    envelope = sandbox.api(f"/api/v1/message/{newest['ID']}/envelope")
    assert bool(re.search(r"TLSv1\.[23]", str(envelope))) == (tls != "none")

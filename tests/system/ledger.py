"""Who was promised what, and what came of it: for tests that kill a mail server while it works.

A `Ledger` knows each message by a token that stands in its header and is its ENVID.  Senders write down what was answered;
`problems()` compares that with the stories, the queue, the mailboxes and what other servers hold:

    accepted recipient    exactly one of delivered, bounced, expired, deleted by an operator, or still queued
    a copy too many       only where an attempt is told as unknown
    a report              exactly once for each recipient that is to be told of
"""
import collections
import email.parser
import email.policy
import hashlib
import re
import threading

HEADERS = email.parser.BytesHeaderParser(policy=email.policy.compat32)
QUEUED = ("waiting", "active", "held", "unknown")


def message(token, size, rng):
    body = b"".join(rng.randbytes(36).hex().encode() + b"\r\n" for _ in range(size // 74 + 1))
    return f"X-Soak: {token} {hashlib.sha256(body).hexdigest()}\r\nSubject: {token}\r\n\r\n".encode() + body


class Mail:
    def __init__(self, token, sender, rcpts):
        self.token, self.sender, self.rcpts = token, sender, rcpts  # rcpts: {address: NOTIFY or ""}
        self.id = None
        self.answer = ""  # "": none was read, so it may have been taken or not
        self.parked = False
        self.acts = []  # what an operator was told to have done


class Ledger:
    def __init__(self):
        self.lock = threading.Lock()
        self.seen = collections.Counter()  # of the last look
        self.forget()

    def forget(self):
        """All is well so far: what follows is counted by itself."""
        self.mails, self.doubled = {}, []
        self.copies = collections.defaultdict(list)   # (token, address): whole or not
        self.reports = collections.defaultdict(list)  # (token, address, action): Message-IDs

    def begin(self, mail):
        with self.lock:
            self.mails[mail.token] = mail

    # ---- what is found ----

    def found(self, data, rcpts):
        """One message at one of its ends."""
        head, _, body = data.partition(b"\r\n\r\n")
        fields = HEADERS.parsebytes(head)
        if fields.get("Auto-Submitted"):
            self.found_report(fields["Message-ID"], body.decode("utf-8", "replace"))
            return
        token, digest = fields["X-Soak"].split()
        whole = hashlib.sha256(body).hexdigest() == digest
        for rcpt in rcpts:
            self.copies[token, rcpt].append(whole)
        mail = self.mails.get(token)
        if mail and not mail.id:
            mail.id = re.search(r"\bid ([0-9A-Za-z]{22})", fields["Received"]).group(1)

    def found_report(self, name, text):
        status = text.split("Content-Type: message/delivery-status", 1)[1].split("\r\n--", 1)[0]
        token = re.search(r"^Original-Envelope-Id: (\S+)", status, re.M).group(1)
        mail = self.mails.get(token)
        if mail and not mail.id:
            mail.id = re.search(r"^X-Penfold-Id: (\S+)", status, re.M).group(1)
        for rcpt, action in re.findall(r"^Final-Recipient: rfc822; ?(\S+)\r\n(?:.*\r\n)*?Action: (\w+)", status, re.M):
            self.reports[token, rcpt, action].append(name)

    # ---- what is wrong ----

    def problems(self, story):
        """[sentences] about all mails; story(id) is what `penfold explain` knows."""
        wrong = []
        self.seen = collections.Counter()
        for mail in list(self.mails.values()):
            wrong += [f"{mail.token} {mail.id} {w}" for w in self.wrong_with(mail, story)]
        return wrong

    def wrong_with(self, mail, story):
        if mail.answer[:1] == "5" and mail.id:
            return [f"was refused ({mail.answer}), and is there"]
        if not mail.id:
            return []  # not answered, and nowhere: it was not taken
        told = story(mail.id)
        rows, attempts = {q["Index"]: q for q in told["Queue"]}, collections.defaultdict(list)
        for a in told["Attempts"]:
            attempts[a["Index"]].append(a["Outcome"])
        if sorted(d["Address"] for d in told["Deliveries"]) != sorted(mail.rcpts):
            return [f"is for {mail.rcpts}, and the story says {told['Deliveries']}"]
        wrong = []
        for i, d in enumerate(told["Deliveries"]):
            state = rows[i]["State"] if i in rows else "nowhere"
            wrong += [f"<{d['Address']}> {state} {attempts[i]}: {w}" for w in self.wrong_with_one(mail, d, state, attempts[i])]
        return wrong

    def wrong_with_one(self, mail, delivery, state, attempts):
        rcpt = delivery["Address"]
        copies, unknown = self.copies[mail.token, rcpt], attempts.count("unknown")
        self.seen[state] += 1
        self.seen["unknown attempts"] += unknown
        self.seen["copies too many"] += max(0, len(copies) - 1)
        if len(copies) > 1:
            self.doubled.append(mail.id)
        if not all(copies):
            yield "a copy is not what was sent"
        if delivery["Action"] == "mailbox":
            if len(copies) != 1 or state != "delivered":
                yield f"{len(copies)} copies in the mailbox"
        elif state == "delivered":
            if not copies:
                yield "lost"
            if len(copies) > attempts.count("delivered") + attempts.count("relayed") + unknown:
                yield f"{len(copies)} copies, and no word of it"
        elif state in ("bounced", "expired", "deleted") + QUEUED:
            if len(copies) > unknown:
                yield f"{len(copies)} copies, and no word of it"
        else:
            yield "lost"
        if state in QUEUED and not mail.parked:
            yield "still queued"
        if mail.parked:
            yield from self.wrong_with_acts(mail, state)
        yield from self.wrong_with_reports(mail, rcpt, state)

    def wrong_with_acts(self, mail, state):
        """What an operator was told to have done is done."""
        last = mail.acts[-1] if mail.acts else ""
        due = {"": "waiting", "hold": "held", "release": "delivered", "retry": "delivered", "delete": "deleted", "bounce": "bounced"}[last]
        if state != due:
            yield f"an operator was told {mail.acts}"

    def wrong_with_reports(self, mail, rcpt, state):
        notify = mail.rcpts[rcpt] or "FAILURE,DELAY"
        over = state in ("bounced", "expired")
        fail = over and ("FAILURE" in notify or not mail.sender)  # without a sender it is the postmaster's
        success = state == "delivered" and "SUCCESS" in notify and mail.sender != ""
        good = [n for action in ("delivered", "relayed") for n in self.reports[mail.token, rcpt, action]]
        bad, late = self.reports[mail.token, rcpt, "failed"], self.reports[mail.token, rcpt, "delayed"]
        self.seen["reports"] += len(set(bad)) + len(set(good))
        for what, due, names in (("failed", fail, bad), ("success", success, good)):
            if len(set(names)) != due:
                yield f"{len(set(names))} reports of {what}, not {int(due)}"
        if len(set(late)) > ("DELAY" in notify):
            yield f"{len(set(late))} reports of a delay"

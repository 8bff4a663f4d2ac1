"""A mail server whose processes are killed at every step: nothing accepted is lost, nothing is doubled unmarked.

Senders, an operator, a smarthost, an LMTP server, a command and mailboxes are at work while a role dies: at a chosen step of a
delivery, which the other server sees, or at any time.  The books (ledger.py) are balanced when all is quiet again.
"""
import os
import random
import signal
import threading
import time

import pytest

import dns
from conftest import SOAK, Smtp, wait_until
from ledger import message
from world import Operator, Sender, World

pytestmark = dns.needs_nsd
BATCHES = 5 if SOAK else 1


class Plan:
    """When another server sees `step`: the roles of `stop` stop, `after` seconds later those of `kill` die.
    after 0: before the server goes on with that step.  step "": at any time."""

    def __init__(self, name, step, kill, stop=(), after=0.0):
        self.name, self.step, self.kill, self.stop, self.after = name, step, kill, stop, after


EVERYTHING = ("supervisor", "store", "delivery", "smtpd", "resolver", "keyd", "httpd", "content")
PLANS = [  # a role that dies often is started later and later: they take turns
    Plan("store, the intent is not written", "DATA", ["store"], ["store"], 0.1),
    Plan("delivery, at DATA", "DATA", ["delivery"]),
    Plan("store, the intent is written, leave is not read", "DATA", ["store"], ["delivery"], 0.1),
    Plan("smtpd, a report is being built", "refused", ["smtpd"], ["smtpd"], 0.1),
    Plan("delivery, its final dot is not answered", "dot", ["delivery"]),
    Plan("store, the final dot is not answered", "dot", ["store"]),
    Plan("delivery, the answer is on its way", "answered", ["delivery"]),
    Plan("store, the result is not written", "dot", ["store"], ["store"], 0.1),
    Plan("smtpd, a report may be there", "refused", ["smtpd"], [], 0.01),
    Plan("delivery, it has leave and has not read it", "DATA", ["delivery"], ["delivery"], 0.1),
    Plan("supervisor, at DATA", "DATA", ["supervisor"]),
    Plan("store, the result may be written", "answered", ["store"], [], 0.002),
    Plan("delivery, during RSET", "RSET", ["delivery"]),
    Plan("store, a report is being built", "refused", ["store"], ["smtpd"], 0.1),
    Plan("everything, the final dot is not answered", "dot", EVERYTHING),
    Plan("delivery, in the middle of a body", "DATA", ["delivery"], [], 0.01),
    Plan("store, a report may be there", "refused", ["store"], [], 0.01),
]
AT_RANDOM = [Plan(f"{role}, at any time", "", [role]) for role in ("store", "delivery", "smtpd", "resolver", "keyd", "supervisor")]
AT_RANDOM.append(Plan("everything, at any time", "", EVERYTHING))


def kill_all(pids, sig=signal.SIGKILL):
    for pid in pids:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass


class Trap:
    """Springs once, in the thread of the server that has come to the plan's step."""

    def __init__(self, world):
        self.world, self.plan, self.lock, self.sprung = world, None, threading.Lock(), threading.Event()
        world.at = self.take

    def set(self, plan):
        with self.lock:
            self.plan = plan
            self.sprung.clear()

    def take(self, step):
        with self.lock:
            plan = self.plan
            if not plan or plan.step != step:
                return
            self.plan = None
        roles = self.world.p.roles()
        for role in plan.stop:
            kill_all(roles.get(role, []), signal.SIGSTOP)
        if not plan.after:
            self.strike(plan, roles)
        self.sprung.set()

    def strike(self, plan, roles):
        pids = [pid for role in plan.kill for pid in roles.get(role, [])]
        kill_all(pids + ([self.world.p.process.pid] if "supervisor" in plan.kill else []))
        kill_all([pid for role in plan.stop for pid in roles.get(role, []) if pid not in pids], signal.SIGCONT)

    def crash(self, plan, rng):
        """Returns when all run again: whether the plan came true."""
        before, sprung = self.world.p.roles(), True
        self.set(plan)
        if plan.step:
            sprung = self.sprung.wait(20)
            self.set(None)
        time.sleep(plan.after if plan.step else rng.uniform(0.1, 0.6))  # the moment of the crash: nothing is waited for
        if plan.after or not plan.step or not sprung:
            self.strike(plan, before)
        if "supervisor" in plan.kill:
            self.world.restart(before)
        else:
            for role in plan.kill:
                wait_until(lambda: self.world.replaced(role, before.get(role, [])), 60, f"a new {role}")
        return sprung


def batch(world, number, plans, rng):
    trap, workers = Trap(world), [Sender(world, number * 10 + i, login=i % 2 == 1) for i in range(4)] + [Operator(world)]
    for w in workers:
        w.start()
    missed = []
    for plan in plans:
        start = time.monotonic()
        if not trap.crash(plan, rng):
            missed.append(plan.name)
        print(f"{time.monotonic() - start:5.1f} s  {plan.name}", flush=True)
    for w in workers:
        w.stop.set()
    for w in workers:
        w.join(60)
        assert not w.is_alive(), "a sender hangs"
    accepted = sum(m.answer.startswith("250") for m in world.ledger.mails.values())
    unread = sum(not m.answer for m in world.ledger.mails.values())
    world.settle()
    for mail in set(world.ledger.doubled):
        assert " unknown" in world.penfold("explain", mail).stdout, mail
    assert accepted > 10 * len(plans) and workers[-1].acts > 0
    print(f"{accepted} accepted, {unread} unanswered, {workers[-1].acts} acts, {world.ledger.seen}", flush=True)
    assert not missed, missed
    world.ledger.forget()


def test_nothing_is_lost_and_nothing_doubled(tmp_path):
    rng = random.Random()
    world = World(tmp_path)
    try:
        for number in range(BATCHES):
            chosen = PLANS if not SOAK else rng.sample(PLANS, len(PLANS))
            batch(world, number, chosen + rng.sample(AT_RANDOM, len(AT_RANDOM) if SOAK else 2), rng)
    finally:
        world.close()


BEGUN = """#!/bin/sh
f=$(mktemp "%s/.XXXXXX") && touch "%s/begun" && sleep 0.3 && cat >"$f" && mv "$f" "%s/${f##*/.}"
"""


@pytest.mark.parametrize("victim", ["delivery", "store"])
def test_a_command_gets_no_half_a_message(tmp_path, victim):
    """Its input ends when the message does, and not when those who feed it die."""
    world = World(tmp_path)
    begun = world.got / "begun"
    try:
        world.command.write_text(BEGUN.replace("%s", str(world.got)))
        before, supervisor = world.p.roles(), world.p.process.pid
        s = Smtp(world.p.smtp)
        s.cmd("EHLO soak.example")
        mail = s.message(message("half", 3_000_000, random.Random(1)), "u1@here.test", ["p1@pipe.test"]).rsplit(" ", 1)[1]
        s.close()
        wait_until(begun.exists, what="the command")
        os.kill(supervisor, signal.SIGSTOP)  # it would end the command at once
        kill_all(before[victim])
        time.sleep(0.5)  # nothing is to happen
        assert [f.name for f in world.got.iterdir() if f.name[0] != "."] == ["begun"]
        os.kill(supervisor, signal.SIGCONT)
        wait_until(lambda: world.replaced(victim, before[victim]), 60, f"a new {victim}")
        wait_until(lambda: world.story(mail)["Queue"][0]["State"] == "delivered", 30, "the delivery")
        begun.unlink()
        assert [f.stat().st_size > 3_000_000 for f in world.got.iterdir() if f.name[0] != "."] == [True]
        attempts = [(a["Outcome"], a["Text"]) for a in world.story(mail)["Attempts"]]
        assert [outcome for outcome, _ in attempts] == ["unknown", "delivered"], attempts
    finally:
        world.close()

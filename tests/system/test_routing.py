"""The guide to routing: each of its examples is checked as it stands, and what it shows is what the programs say."""
import os
import re
import subprocess

import pytest

from conftest import PENFOLD, ROOT

EXAMPLES = os.path.join(ROOT, "docs", "examples")
FILES = sorted(name for name in os.listdir(EXAMPLES) if name.endswith(".conf"))
GUIDE = open(os.path.join(ROOT, "docs", "routing.md")).read()


def read(name):
    return open(os.path.join(EXAMPLES, name)).read()


@pytest.mark.parametrize("name", FILES)
def test_example_is_right(name):
    text = read(name) + "\nuser root\n"  # the user of an installed Penfold may not be here
    run = subprocess.run([PENFOLD, "conf", "check", "-"], input=text, capture_output=True, text=True, cwd=EXAMPLES, timeout=30)
    assert (run.returncode, run.stderr) == (0, "")
    tests = len(re.findall(r"(?m)^test ", text))
    assert tests and run.stdout == f"-: no errors, {tests} test{'s' * (tests > 1)} passed\n"


def test_the_guide_quotes_its_examples():
    quoted = re.findall(r"```conf\n(.*?)```", GUIDE, re.DOTALL)
    assert len(quoted) >= 8
    for block in quoted:
        assert any(block in read(name) for name in FILES), block
    assert all(f"examples/{name}" in GUIDE for name in FILES)


def test_the_guide_shows_what_route_says():
    command, shown = re.search(r"\$ penfold (route [^\n]*)\n((?:    [^\n]*\n)*)", GUIDE).groups()
    run = subprocess.run([PENFOLD, *command.split()], capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert run.returncode == 1
    assert run.stdout == re.sub(r"(?m)^    ", "", shown)

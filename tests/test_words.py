"""The words are the field's, and present-day English: the worst of what was there before stays out."""

import re

import pytest
from conftest import ROOT

# By the words, what to say instead.
INSTEAD = {
    r"\bdear(ly|er)?\b": "slow, expensive",
    r"\b(least|most)\b *(=(?!=)|: *(int|float)\b)": "minimum, maximum",
    r"\b(broadcasts?|added?) for nothing\b": "at no cost",
    r"\blook_at\b|\bfor_each_of\b|\b_?taps\b|\b_hear\b|\bsay_later\b": "the field's term",
    r"\bthe (house|room)s?\b|\brooms\b": "package, module",
    r"nobody's business|of boxes that overlap the best|in whose place they stand": "plain English",
    r"(?<!there )\bis no (file of weights|YAML|picture|layer|state|error)\b": "is not a",
}
FILES = [
    path
    for folder in ("ppcoordconv", "tools", "docs", "demo")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".md")
]
FILES += [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]


@pytest.mark.parametrize("words", INSTEAD)
def test_what_nobody_says_is_not_said(words):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(words, line)
    ]
    assert not found, f"better: {INSTEAD[words]}\n" + "\n".join(found)

"""The parser's errors, in the words of the command line."""

from __future__ import annotations

import re

from runinference.hints import did_you_mean

__all__ = ["reword"]


def reword(message: str, known: list[str], handler: str | None) -> str:
    """An error of the parser in the words of the command line."""
    unknown = re.match(r"unrecognized arguments: (\S+)", message)
    if unknown is not None:
        return _unknown_option(unknown[1].partition("=")[0], known, handler)
    missing = re.match(r"the following arguments are required: (.*)", message)
    if missing is not None:
        options = ", ".join(_as_option(key.strip()) for key in missing[1].split(","))
        return f"missing: {options} (handler {handler!r}; see runinference handlers show {handler})"
    key = re.search(r'^Parser key "([^"]+)":', message)
    value = re.search(r"^\s*Given value: (.*)$", message, re.MULTILINE)
    expected = re.findall(r"Expected (?:a |an )?(.+?)(?:\. Got value: .*)?$", message, re.MULTILINE)
    if key is not None and expected:
        wanted = " or ".join(_plain_type(e) for e in expected if "NoneType" not in e)
        given = value[1] if value else message.rpartition("Got value: ")[2]
        return f"{_as_option(key[1])} cannot be {given.strip()!r}: expected {wanted}"
    return re.sub(r"\s+", " ", message)


def _unknown_option(option: str, known: list[str], handler: str | None) -> str:
    if not option.startswith("--"):
        return f"{option!r} stands alone: files go behind --input, Beam's options behind --"
    options = [_as_option(key) for key in known] + ["--handler"]
    hint = did_you_mean(option, options)
    group = option.partition(".")[0] + "."
    takes = [known_option for known_option in options if known_option.startswith(group)]
    if group == "--handler.":
        return f"handler {handler!r} has no option {option!r}; {hint}it takes {', '.join(takes)}"
    listed = f"there are {', '.join(takes)}" if takes else "see runinference score --help"
    return f"no option {option!r}; {hint}{listed}; Beam's own options go behind --"


def _as_option(key: str) -> str:
    head, dot, rest = key.partition(".")
    return f"--{head.replace('_', '-')}{dot}{rest}"


def _plain_type(text: str) -> str:
    if "Sequence" in text or "list" in text.lower():
        return "a list such as '[a, b]'"
    members = re.search(r"\{(.+)\}|Literal\[(.+)\]", text)
    if members is not None:
        return ", ".join(re.findall(r"[^',\s]+", members[1] or members[2]))
    return re.sub(r"<(?:class|enum) '(?:\w+\.)*(\w+)'>", r"\1", text)

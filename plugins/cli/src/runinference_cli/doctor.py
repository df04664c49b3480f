"""``runinference doctor``: what is installed, what is wrong with it and why, and what can run."""

from __future__ import annotations

from typing import Any

from runinference_cli import machine, plugins
from runinference_cli.report import rendered

__all__ = ["examine"]

_STYLES = {"ok": "green", "no": "dim", "blocked": "yellow"}


def examine() -> tuple[str, bool]:
    """Look at everything, in processes of their own where it has to be imported.

    Returns:
        The report, and whether nothing is wrong: plugins that the environment forbids are not, nor
        are runners and devices that are not here.
    """
    findings = [*plugins.distributions(), *plugins.handlers(), *plugins.observers()]
    runners = machine.runners()
    wrong = [f for f in findings if f.state not in _STYLES]
    wrong += [runner for runner in runners if runner.state == "broken"]
    parts = [
        _table("Installed", ("Distribution", "Version"), findings, "distribution"),
        _table("Handlers", ("Handler", "Distribution"), findings, "handler"),
        _table("Observers", ("Observer", "Distribution"), findings, "observer"),
        _table("Libraries", ("Library", "Version"), plugins.libraries(), "library"),
        _table("Devices", ("Device", ""), machine.devices(), "device"),
        _table("Runners", ("Runner", ""), runners, "runner"),
    ]
    if not wrong:
        told = "nothing is wrong"
    else:
        told = "wrong: " + ", ".join(f"{f.name} is {f.state}" for f in wrong)
    return f"{rendered(*(part for part in parts if part is not None))}\n{told}", not wrong


def _table(title: str, heads: tuple[str, str], findings: list[plugins.Finding], kind: str) -> Any:
    from rich.table import Table

    chosen = [finding for finding in findings if finding.kind == kind]
    if not chosen:
        return None
    table = Table(*heads, "State", "Why", title=title, title_justify="left")
    for finding in chosen:
        style = _STYLES.get(finding.state, "bold red")
        table.add_row(finding.name, finding.detail, finding.state, finding.why, style=style)
    return table

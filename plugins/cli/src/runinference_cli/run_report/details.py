"""The lower part of the report's page: failures, models, requests, and what ran."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from markupsafe import Markup

from runinference_cli.amounts import byte_size, counted, duration
from runinference_cli.run_report.collected import Collected
from runinference_cli.run_report.facts import Run

__all__ = ["details"]

_PRE = Markup("<pre>{}</pre>")
_SECTION = Markup("<h2>{}</h2>{}")
_PARAGRAPH = Markup('<p class="soft">{}</p>')


def details(run: Run, heard: Collected) -> Iterator[Markup]:
    """The sections that have something to tell."""
    yield from _failures(run, heard)
    yield from _models(heard)
    yield from _requests(heard)
    yield _SECTION.format("What ran", _pairs(run.facts))


def _failures(run: Run, heard: Collected) -> Iterator[Markup]:
    rows = [
        (
            kind,
            f"{failure.examples:,}",
            " and ".join(sorted(failure.stages)),
            Markup("").join(_PRE.format(message) for message in failure.messages),
        )
        for kind, failure in sorted(heard.failures.items(), key=lambda pair: -pair[1].examples)
    ]
    notes = []
    if run.failures_in is not None and rows:
        notes.append(f"The rows that failed are in {run.failures_in}, each with its reason.")
    if heard.failed_calls:
        notes.append(f"{counted(heard.failed_calls, 'call')} of the model raised.")
    if heard.halved:
        notes.append(f"{counted(heard.halved, 'call')} ran out of memory and went on in halves.")
    if heard.nonfinite:
        notes.append(f"{counted(heard.nonfinite, 'prediction')} had NaN or an infinite number.")
    if not rows and not notes:
        return
    yield Markup("<h2>Failures</h2>")
    if rows:
        yield _table(("Type", "Rows", "Stage", "Messages, a few of them"), rows, {1})
    if notes:
        yield _PARAGRAPH.format(" ".join(notes))


def _models(heard: Collected) -> Iterator[Markup]:
    if not heard.loads and not heard.models:
        return
    yield Markup("<h2>Models</h2>")
    if heard.models:
        used = sorted(heard.models.items(), key=lambda pair: -pair[1].rows)
        rows = [
            (model, f"{use.rows:,}", f"{use.calls:,}", duration(use.seconds), _each(use))
            for model, use in used
        ]
        yield _table(("Model", "Rows", "Calls", "Time", "Time of 1,000 rows"), rows, {1, 2, 3, 4})
    if heard.loads:
        loads = [
            (
                load.model_id or load.handler,
                duration(load.seconds),
                byte_size(load.byte_size),
                _PRE.format(load.sha256 or "not told"),
            )
            for load in heard.loads
        ]
        yield _table(("Loaded", "In", "Memory", "SHA-256"), loads, {1, 2})
    if heard.load_count > len(heard.loads):
        more = counted(heard.load_count - len(heard.loads), "further load")
        yield _PARAGRAPH.format(f"And {more}.")
    if heard.refused:
        yield _table(("Refused updates",), [(_PRE.format(told),) for told in heard.refused], set())


def _each(use: Any) -> str:
    return duration(1000 * use.seconds / use.rows) if use.rows else ""


def _requests(heard: Collected) -> Iterator[Markup]:
    if not heard.remote_calls:
        return
    late = heard.request_latencies
    pairs = [
        ("Requests", f"{heard.requests:,} for {counted(heard.remote_calls, 'call')}"),
        ("Held back", f"{duration(heard.throttled_s)} by rate limits, throttling or the server"),
        ("Not made", f"{counted(heard.rejected, 'call')}, since the server had failed for a while"),
    ]
    if late.count:
        told = ", ".join(f"p{q} {duration(late.quantile(q / 100))}" for q in (50, 95, 99))
        pairs.append(("Latency", f"{told}; at most {duration(late.greatest)}"))
    yield _SECTION.format("Requests to the server", _pairs(pairs))


def _pairs(pairs: Iterable[tuple[str, Any]]) -> Markup:
    row = Markup('<tr><th scope="row">{}</th><td>{}</td></tr>')
    rows = Markup("").join(row.format(name, _PRE.format(value)) for name, value in pairs if value)
    return Markup('<table class="what">{}</table>').format(rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]], numbers: set[int]) -> Markup:
    def cells(cell: Markup, values: Sequence[Any]) -> Markup:
        made = Markup("")
        for number, (head, value) in enumerate(zip(heads, values, strict=True)):
            kind = "number" if number in numbers else ""
            made += cell.format(kind=kind, head=head, value=value)
        return Markup("<tr>{}</tr>").format(made)

    head = cells(Markup('<th class="{kind}">{value}</th>'), heads)
    cell = Markup('<td class="{kind}" data-head="{head}">{value}</td>')
    body = Markup("").join(cells(cell, row) for row in rows)
    return Markup('<table class="list"><thead>{}</thead><tbody>{}</tbody></table>').format(
        head, body
    )

"""The report's page: a verdict, then figures and pictures, then details."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable, Iterator

from markupsafe import Markup

from runinference._version import __version__
from runinference_cli.amounts import (
    amount,
    byte_size,
    counted,
    duration,
    percent,
    rate,
    short,
)
from runinference_cli.run_report.collected import Collected
from runinference_cli.run_report.details import details
from runinference_cli.run_report.distributions import Distribution
from runinference_cli.run_report.facts import Run
from runinference_cli.run_report.pictures import histogram, over_time

__all__ = ["GENERATOR", "page"]

GENERATOR = '<meta name="generator" content="runinference'
_PAGE = Markup("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{generator} {version}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{verdict}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header class="verdict {mood}">
<h1>{verdict}</h1>
<p class="soft">{subtitle}</p>
</header>
{body}
<footer class="soft">Written by runinference {version}. Quantiles of calls are within 2.2 percent.
Memory and processor time are those of the process that ran the pipeline.</footer>
</main>
</body>
</html>
""")
_ERROR = Markup('<div class="error"><pre>{}</pre></div>')
_NOTE = Markup('<p class="note">{}</p>')
_TILE = Markup('<div class="tile"><b>{}</b><span>{}</span></div>')
_FIGURE = Markup("<figure><h3>{}</h3>{}<figcaption>{}</figcaption></figure>")
_BAR = Markup(
    '<tr><td title="{name}">{name}</td><td><i style="width:{width:.1f}%"></i></td>'
    '<td class="number">{told}</td><td class="number">{share}</td></tr>'
)


def page(run: Run, heard: Collected) -> str:
    """The whole page as HTML that loads nothing from elsewhere."""
    style = importlib.resources.files("runinference_cli.run_report") / "style.css"
    verdict, mood = _verdict(run, heard)
    made = _PAGE.format(
        generator=Markup(GENERATOR),
        version=__version__,
        verdict=verdict,
        mood=mood,
        style=Markup(style.read_text()),
        subtitle=" · ".join(_subtitle(run, heard)),
        body=_joined(_body(run, heard)),
    )
    return str(made)


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("\n").join(parts)


def _verdict(run: Run, heard: Collected) -> tuple[str, str]:
    rows = heard.rows + heard.deduplicated if run.rows is None else run.rows
    failed = heard.failed_rows if run.failed_rows is None else run.failed_rows
    after = duration(heard.seconds)
    if run.outcome != "done":
        how = "The run failed" if run.outcome == "failed" else "The run was interrupted"
        predicted = f", when {counted(heard.rows, 'row')} had been predicted" if heard.rows else ""
        return f"{how} after {after}{predicted}", "bad"
    speed = rate(rows, heard.seconds - heard.load_seconds)
    told = f"{run.verb} {counted(rows, 'row')} in {after} ({speed} after loading)"
    if failed:
        return f"{told}; {counted(failed, 'row')} failed", "warn"
    if not rows:
        return f"{run.verb} no rows", "warn"
    return f"{told}; none failed", "good"


def _subtitle(run: Run, heard: Collected) -> Iterator[str]:
    yield from heard.handlers
    models = list(heard.models) or [load.model_id for load in heard.loads if load.model_id]
    if models:
        others = counted(len(models) - 1, "more model")
        more = f" and {others}" if len(models) > 1 else ""
        yield f"{models[0]}{more}"
    yield run.began.strftime("%d %B %Y, %H:%M:%S %Z").lstrip("0")


def _body(run: Run, heard: Collected) -> Iterator[Markup]:
    if run.message:
        yield _ERROR.format(run.message)
    if run.unheard:
        yield _NOTE.format(run.unheard)
    yield Markup('<div class="tiles">{}</div>').format(_joined(_tiles(run, heard)))
    if heard.sizes.count:
        yield Markup("<h2>Where the time went</h2>{}").format(_time_split(run, heard))
    figures = list(_figures(heard))
    if figures:
        yield Markup('<h2>The run in pictures</h2><div class="grid">{}</div>').format(
            _joined(figures)
        )
    made = heard.predictions.distributions()
    if made:
        yield Markup('<h2>Predictions</h2><div class="grid">{}</div>').format(
            _joined(map(_distribution, made))
        )
        if heard.predictions.left_out:
            left = counted(heard.predictions.left_out, "more output")
            yield Markup('<p class="soft">The model has {}, which are not shown.</p>').format(left)
    yield from details(run, heard)


def _tiles(run: Run, heard: Collected) -> Iterator[Markup]:
    rows = heard.rows + heard.deduplicated if run.rows is None else run.rows
    failed = heard.failed_rows if run.failed_rows is None else run.failed_rows
    working = heard.seconds - heard.load_seconds
    yield _TILE.format(f"{rows:,}", f"{run.verb.lower()} rows")
    yield _TILE.format(amount(rows / max(working, 1e-9)), "rows/s after loading")
    processor = duration(heard.processor_seconds)
    yield _TILE.format(duration(heard.seconds), f"{processor} of processor time")
    yield _TILE.format(f"{failed:,}", "failed rows")
    if heard.sizes.count:
        mean = counted(heard.sizes.mean, "row")
        yield _TILE.format(f"{heard.sizes.count:,}", f"calls of the model, {mean} each")
        late = heard.latencies
        tail = f"p95 {duration(late.quantile(0.95))}, p99 {duration(late.quantile(0.99))}"
        yield _TILE.format(duration(late.quantile(0.5)), f"a call (p50); {tail}")
    if heard.deduplicated:
        yield _TILE.format(f"{heard.deduplicated:,}", "rows equal to others, not predicted again")
    if heard.load_count:
        loads = counted(heard.load_count, "load")
        yield _TILE.format(duration(heard.load_seconds), f"{loads} of a model")
    yield _TILE.format(byte_size(max(heard.memory.amounts, default=0)), "most memory")


def _time_split(run: Run, heard: Collected) -> Markup:
    together = "collating and predicting"
    stages = {"loading": heard.load_seconds}
    if run.stages is not None:
        stages["reading"] = run.stages["read"]
    if heard.tells_collating:
        stages["collating"] = heard.prepare_seconds + heard.collate_seconds
        stages["predicting"] = heard.predict_seconds
    else:
        stages[together] = heard.prepare_seconds + heard.predict_seconds
    if run.stages is not None:
        stages["writing"] = run.stages["write"]
    longest = max(stages.values()) or 1.0
    whole = max(heard.seconds, 1e-9)
    bars = _joined(
        _BAR.format(
            name=name,
            width=100 * seconds / longest,
            told=duration(seconds),
            share=percent(seconds / whole),
        )
        for name, seconds in stages.items()
    )
    most = max(stages, key=lambda name: stages[name])
    notes = [f"Shares of the {duration(heard.seconds)} that the run took; most of them, {most}."]
    if run.stages is not None:
        notes.append("Reading and writing have threads of their own: the stages overlap.")
    else:
        notes.append("What else the pipeline did, reading and writing among it, is not told apart.")
    if not heard.tells_collating:
        notes.append("This handler does not tell collating from predicting.")
    return Markup('<table class="bars">{}</table><p class="soft">{}</p>').format(
        bars, " ".join(notes)
    )


def _figures(heard: Collected) -> Iterator[Markup]:
    rates = heard.rows_over_time.rates()
    if len(rates) > 1:
        title = "Rows per second, over time"
        picture = over_time(title, rates, heard.rows_over_time.width, amount)
        yield _FIGURE.format(title, picture, f"at most {rate(max(rates), 1)}")
    memory = _filled(heard.memory.amounts)
    if memory:
        memory = memory * 2 if len(memory) == 1 else memory  # a line, however short the run
        title = "Memory, over time"
        unit = 2.0**30 if max(memory) >= 1000 * 2**20 else 2.0**20
        picture = over_time(
            title,
            [held / unit for held in memory],
            heard.memory.width,
            lambda held: f"{held:.3g} {'GiB' if unit > 2**20 else 'MiB'}",
        )
        told = f"from {byte_size(memory[0])} to {byte_size(memory[-1])}, at most "
        yield _FIGURE.format(title, picture, told + byte_size(max(memory)))
    if not heard.sizes.count:
        return
    sizes, late = heard.sizes, heard.latencies
    told = f"{sizes.least:,.0f} to {sizes.greatest:,.0f} rows, {sizes.mean:,.0f} on average"
    if sizes.least == sizes.greatest:
        told = f"all of {counted(sizes.least, 'row')}"
    picture = histogram("Rows of a call", sizes.bars(), amount, is_logarithmic=True)
    yield _FIGURE.format("Rows of a call", picture, told)
    picture = histogram("Time of a call", late.bars(), duration, is_logarithmic=True)
    quantiles = ", ".join(f"p{q} {duration(late.quantile(q / 100))}" for q in (50, 95, 99))
    told = f"{quantiles}; at most {duration(late.greatest)}"
    yield _FIGURE.format("Time of a call", picture, told)
    if heard.padded_tokens:
        bars = [(n / 20, (n + 1) / 20, float(count)) for n, count in enumerate(heard.padding)]
        waste = 1 - heard.tokens / heard.padded_tokens
        picture = histogram("Padding of a call", bars, lambda share: f"{share:.0%}")
        told = f"{percent(waste)} of {amount(heard.padded_tokens)} positions were padding"
        yield _FIGURE.format("Padding of a call", picture, told)


def _filled(amounts: Iterable[float]) -> list[float]:
    """What was not measured is what it was before."""
    filled: list[float] = []
    for value in amounts:
        filled.append(value or (filled[-1] if filled else 0.0))
    return filled


def _distribution(made: Distribution) -> Markup:
    name = made.name or "prediction"
    note = "; ".join(made.notes)
    if made.bars:
        picture = histogram(f"Histogram of {name}", made.bars, short, what="rows")
        return _FIGURE.format(name, picture, note)
    most = max(count for _, count in made.counts)
    total = sum(count for _, count in made.counts)
    bars = _joined(
        _BAR.format(
            name=label,
            width=100 * count / most,
            told=f"{count:,}" if made.is_whole else "",
            share=percent(count / total),
        )
        for label, count in made.counts
    )
    return _FIGURE.format(name, Markup('<table class="bars">{}</table>').format(bars), note)

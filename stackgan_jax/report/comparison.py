"""Several runs side by side: one table of their scores, and curves of each metric against steps and
training time."""

import html
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from stackgan_jax import sample
from stackgan_jax.evaluation import evaluate, protocols, records
from stackgan_jax.evaluation.metrics import BETTER
from stackgan_jax.evaluation.records import Record
from stackgan_jax.evaluation.runs import Evaluation, publish
from stackgan_jax.evaluation.stamps import TITLES, Score, number
from stackgan_jax.report import curves
from stackgan_jax.report.style import STYLE
from stackgan_jax.runtime import paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.checkpoint import saved_steps

MOST = 6  # runs that a plot can tell apart

Runs = Mapping[str, Sequence[Record]]  # workdir → its evaluations by one protocol, oldest first


def compare(workdirs: Sequence[Path], given: Mapping[str, Any], output: Path) -> None:
    """Draws one table and one plot of runs, evaluating each newest checkpoint that has not been.

    A run's own metrics.json is taken for a checkpoint that was evaluated by the same protocol.
    """
    found = [sample.find_run(workdir) for workdir in workdirs]
    require_plottable([paths.absolute(directory) for directory, _ in found])
    if not output.parent.is_dir():
        raise UserError(f"--output={output} can't be written: there is no folder {output.parent}.")
    for directory, _ in found:
        evaluate.require_checkpoint(directory)  # of all, before the first is evaluated
    by_run, logs = {}, {}
    for directory, config in found:
        protocol = protocols.resolve(evaluate.settings_of(directory, given))
        evaluated = evaluate.evaluated(directory, protocol)
        newest = saved_steps(directory / "checkpoints")[-1:]
        if not any([r.step] == newest and evaluate.has_fid_if(protocol, r) for r in evaluated):
            publish(*_newest(directory, config, given))
            evaluated = evaluate.evaluated(directory, protocol)
        by_run[str(directory)], logs[str(directory)] = evaluated, read_log(directory)
    records.save(output, page(by_run, logs))
    print(f"{text(by_run)}\n\nTable and curves: {output}", flush=True)


def _newest(
    directory: Path, config: ConfigDict, given: Mapping[str, Any]
) -> tuple[Evaluation, Record]:
    evaluation = evaluate.prepared(directory, config, given)
    return evaluation, evaluation.of(sample.load(directory))


def page(runs: Runs, logs: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """The comparison as HTML.

    Args:
      runs: with at least one evaluation each.
      logs: workdir → the lines of its metrics.jsonl, which know when each step was done.
    """
    names = _metrics(runs)
    protocol = next(iter(runs.values()))[-1].protocol
    charts = "".join(_charts(name, runs, logs) for name in names)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Comparison of {len(runs)} runs</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{len(runs)} runs compared</h1>"
        f"<p>Protocol “{html.escape(protocol)}”, the newest evaluated checkpoint of each.</p>"
        f"{_table(runs, names)}<h2>On the way</h2>{charts}"
        f"<h2>Stamps</h2>{_stamps(runs)}</main></body></html>\n"
    )


def text(runs: Runs) -> str:
    """The table for the terminal."""
    names = _metrics(runs)
    rows = [("run", "step", *(TITLES[name] for name in names))]
    for run, found in runs.items():
        scores = [found[-1].scores.get(name) for name in names]
        rows.append((run, f"{found[-1].step:,}", *(_figure(runs, s) if s else "–" for s in scores)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*(line.rstrip() for line in lines), *_warnings(runs)])


def seconds_at(log: Sequence[Mapping[str, float]], step: int) -> float | None:
    """Seconds of training until `step`, between the two lines of the log around it."""
    before = [line for line in log if line["step"] <= step]
    after = [line for line in log if line["step"] >= step]
    if not before or not after:
        return None
    (x, a), (y, b) = ((line["step"], line["seconds"]) for line in (before[-1], after[0]))
    return a if x == y else a + (b - a) * (step - x) / (y - x)


def read_log(folder: Path) -> list[dict[str, float]]:
    """The lines of a run's metrics.jsonl."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def require_plottable(runs: Sequence[Path]) -> None:
    """Raises UserError for more runs than a plot can tell apart, or one run twice."""
    if len(runs) > MOST:
        raise UserError(f"At most {MOST} runs can be compared at once, not {len(runs)}.")
    if len(set(runs)) < len(runs):
        raise UserError("A run was given twice; give each --workdir once.")


def _metrics(runs: Runs) -> list[str]:
    """Those that at least one of the newest evaluations has."""
    return [n for n in TITLES if any(n in found[-1].scores for found in runs.values())]


def _incomparable(runs: Runs, score: Score) -> bool:
    """Whether another run measured this metric in another way."""
    others = (found[-1].scores.get(score.name) for found in runs.values())
    return any(other and not score.comparable(other) for other in others)


def _figure(runs: Runs, score: Score) -> str:
    mark = " *" if _incomparable(runs, score) else ""
    return number(score.name, score.value) + mark


def _warnings(runs: Runs) -> list[str]:
    scores = [score for found in runs.values() for score in found[-1].scores.values()]
    marked = dict.fromkeys(TITLES[s.name] for s in scores if _incomparable(runs, s))
    if not marked:
        return []
    return [f"* not comparable, for the runs measured it in different ways: {', '.join(marked)}"]


def _table(runs: Runs, names: Sequence[str]) -> str:
    heads = "".join(
        f'<th scope="col">{html.escape(TITLES[n])} {"↓" if BETTER[n] == "min" else "↑"}</th>'
        for n in names
    )
    rows = ""
    for run, found in runs.items():
        cells = ""
        for name in names:
            score = found[-1].scores.get(name)
            cells += f"<td>{_cell(runs, score) if score else '–'}</td>"
        step = f"{found[-1].step:,}"
        rows += f'<tr><th scope="row">{html.escape(run)}</th><td>{step}</td>{cells}</tr>'
    notes = "".join(f'<p class="note">{html.escape(line)}</p>' for line in _warnings(runs))
    return (
        f'<div class="scroll"><table><thead><tr><th scope="col">Run</th><th scope="col">Step</th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>{notes}"
    )


def _cell(runs: Runs, score: Score) -> str:
    real = "" if score.real is None else f" (real {number(score.name, score.real)})"
    best = _is_best(runs, score) and not _incomparable(runs, score)
    figure = f"{_figure(runs, score)}{real}"
    return f"<b>{figure}</b>" if best else figure


def _is_best(runs: Runs, score: Score) -> bool:
    values = [f[-1].scores[score.name].value for f in runs.values() if score.name in f[-1].scores]
    return len(values) > 1 and score.value == {"min": min, "max": max}[BETTER[score.name]](values)


def _charts(name: str, runs: Runs, logs: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    def drawn(unit: str, x: Callable[[str, int], float | None]) -> str:
        lines = {}
        for run, found in runs.items():
            points = [(x(run, r.step), r.scores[name].value) for r in found if name in r.scores]
            lines[run] = [point for point in points if point[0]]
        better = {"min": "lower", "max": "higher"}[BETTER[name]]
        title = f"{TITLES[name]} ({better} is better)"
        return curves.chart(title, lines, unit=unit, dots=True) if any(lines.values()) else ""

    def minutes(run: str, step: int) -> float | None:
        seconds = seconds_at(logs[run], step)
        return seconds and seconds / 60

    figures = drawn("step", lambda run, step: step) + drawn("minute", minutes)
    return f'<div class="charts">{figures}</div>'


def _stamps(runs: Runs) -> str:
    return "".join(
        f'<details class="card"><summary>{html.escape(run)}</summary>'
        f"<pre class=scroll>{html.escape(str(found[-1]))}</pre></details>"
        for run, found in runs.items()
    )

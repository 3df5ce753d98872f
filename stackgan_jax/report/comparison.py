"""Several runs compared: a table of scores, and curves against steps and training time."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from stackgan_jax import sample
from stackgan_jax.evaluation import evaluate, protocols, records
from stackgan_jax.evaluation.metrics import BETTER
from stackgan_jax.evaluation.records import Record
from stackgan_jax.evaluation.runs import publish
from stackgan_jax.evaluation.stamps import TITLES, Score, number
from stackgan_jax.report.curves import Chart, binned
from stackgan_jax.report.facts import Log, read_log
from stackgan_jax.report.rendering import render
from stackgan_jax.runtime import configuration, paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.run_files import saved_steps

MOST = 6  # the most runs whose curves a chart can distinguish

Runs = Mapping[str, Sequence[Record]]  # workdir → its evaluations by one protocol, oldest first


class Cell(NamedTuple):
    """A score in the table, and whether it is the best of its metric."""

    text: str
    best: bool


def compare(
    workdirs: Sequence[Path],
    given: Mapping[str, Any],
    output: Path,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Writes a page with one table and the curves of several runs, and prints the table.

    The newest checkpoint of each run is evaluated first, unless the run's metrics.json already
    has an evaluation of it by the same protocol.

    Args:
        workdirs: of the runs, at most MOST.
        given: evaluation settings of the command line.
        output: path of the page.
        data: values of `config.data` where the data of the runs have moved.

    Raises:
        UserError: a workdir has no run or no checkpoint or is given twice, there are too many
            workdirs, or `output` can't be written.
    """
    found = [sample.find_run(workdir) for workdir in workdirs]
    _require_distinct([paths.absolute(directory) for directory, _ in found])
    output = paths.output_file(output, "--output", "comparison.html")
    for directory, _ in found:
        evaluate.require_checkpoint(directory)  # for all runs, before the first is evaluated
    runs = {
        str(directory): _evaluations(directory, configuration.with_data(config, data), given)
        for directory, config in found
    }
    logs = {str(directory): read_log(directory) for directory, _ in found}
    records.save(output, page(runs, logs))
    print(f"{text(runs)}\n\nTable and curves: {output}", flush=True)


def _require_distinct(directories: Sequence[Path]) -> None:
    if len(directories) > MOST:
        raise UserError(
            f"At most {MOST} runs can be compared at once, not {len(directories)}; give fewer "
            "--workdir."
        )
    if len(set(directories)) < len(directories):
        raise UserError("A run was given twice; give each --workdir once.")


def _evaluations(directory: Path, config: ConfigDict, given: Mapping[str, Any]) -> list[Record]:
    """A run's evaluations by the given protocol; evaluates the newest checkpoint if needed."""
    protocol = protocols.resolve(evaluate.settings_of(directory, given))
    evaluated = evaluate.evaluated(directory, protocol)
    newest = saved_steps(directory / "checkpoints")[-1]
    if any(r.step == newest and evaluate.has_fid_if(protocol, r) for r in evaluated):
        return evaluated
    evaluation = evaluate.prepared(directory, config, given)
    publish(evaluation, evaluation.of(sample.load(directory)))
    return evaluate.evaluated(directory, protocol)


def page(runs: Runs, logs: Mapping[str, Log]) -> str:
    """Returns the comparison as HTML.

    Args:
        runs: with at least one evaluation each.
        logs: workdir → the run's log, which contains the training time of each step.
    """
    names = _metrics(runs)
    return render(
        "comparison.html",
        protocol=next(iter(runs.values()))[-1].protocol,
        runs=runs,
        metrics=[(TITLES[name], BETTER[name]) for name in names],
        rows={run: [_cell(runs, run, name) for name in names] for run in runs},
        warnings=_warnings(runs),
        charts=[_charts(name, runs, logs) for name in names],
    )


def text(runs: Runs) -> str:
    """Returns the table for the terminal."""
    names = _metrics(runs)
    rows = [("run", "step", *(TITLES[name] for name in names))]
    for run, evaluations in runs.items():
        scores = [evaluations[-1].scores.get(name) for name in names]
        figures = [_figure(runs, score) if score else "–" for score in scores]
        rows.append((run, f"{evaluations[-1].step:,}", *figures))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*(line.rstrip() for line in lines), *_warnings(runs)])


def seconds_at(log: Log, step: int) -> float | None:
    """Returns the training time until `step`, interpolated between two lines of the log.

    Returns None for a step outside the log.
    """
    before = [line for line in log if line["step"] <= step]
    after = [line for line in log if line["step"] >= step]
    if not before or not after:
        return None
    (x, a), (y, b) = ((line["step"], line["seconds"]) for line in (before[-1], after[0]))
    return a if x == y else a + (b - a) * (step - x) / (y - x)


def _newest_scores(runs: Runs, name: str) -> list[Score]:
    scores = (evaluations[-1].scores.get(name) for evaluations in runs.values())
    return [score for score in scores if score]


def _metrics(runs: Runs) -> list[str]:
    """The metrics of the newest evaluations, in the order of TITLES."""
    return [name for name in TITLES if _newest_scores(runs, name)]


def _incomparable(runs: Runs, score: Score) -> bool:
    """Whether another run measured this metric in another way."""
    return any(not score.comparable(other) for other in _newest_scores(runs, score.name))


def _figure(runs: Runs, score: Score) -> str:
    mark = " *" if _incomparable(runs, score) else ""
    return number(score.name, score.value) + mark


def _warnings(runs: Runs) -> list[str]:
    marked = [
        TITLES[name]
        for name in _metrics(runs)
        if any(_incomparable(runs, score) for score in _newest_scores(runs, name))
    ]
    if not marked:
        return []
    return [f"* not comparable because the runs measured it differently: {', '.join(marked)}"]


def _cell(runs: Runs, run: str, name: str) -> Cell:
    score = runs[run][-1].scores.get(name)
    if score is None:
        return Cell("–", False)
    real = "" if score.real is None else f" (real {number(name, score.real)})"
    values = [each.value for each in _newest_scores(runs, name)]
    best = len(values) > 1 and score.value == {"min": min, "max": max}[BETTER[name]](values)
    return Cell(_figure(runs, score) + real, best and not _incomparable(runs, score))


def _charts(name: str, runs: Runs, logs: Mapping[str, Log]) -> list[Chart]:
    """A metric against steps, and against minutes of training where logs contain them."""

    def minutes(run: str, step: int) -> float | None:
        seconds = seconds_at(logs[run], step)
        return seconds and seconds / 60

    charts = [_chart(name, runs, "step", lambda run, step: step)]
    charts.append(_chart(name, runs, "minute", minutes))
    return [chart for chart in charts if any(chart.curves.values())]


def _chart(name: str, runs: Runs, unit: str, position: Callable[[str, int], float | None]) -> Chart:
    """A metric over `position` of (run, step); steps without a position are left out."""
    better = {"min": "lower", "max": "higher"}[BETTER[name]]
    curves = {}
    for run, evaluations in runs.items():
        scored = [record for record in evaluations if name in record.scores]
        points = [(position(run, record.step), record.scores[name].value) for record in scored]
        curves[run] = binned([point for point in points if point[0]])
    return Chart(f"{TITLES[name]} ({better} is better)", curves, unit=unit, dots=True)

"""Several runs compared: a table of scores, and curves against steps and training time."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from stackgan_jax import sample
from stackgan_jax.evaluation import cautions, evaluate, protocols, records
from stackgan_jax.evaluation.metrics import BETTER, METRICS
from stackgan_jax.evaluation.records import Record
from stackgan_jax.evaluation.runs import publish
from stackgan_jax.evaluation.stamps import COMPARABLE, TITLES, Score, number
from stackgan_jax.report import same_captions
from stackgan_jax.report.curves import Chart, binned
from stackgan_jax.report.facts import Log, read_log
from stackgan_jax.report.rendering import listed, render
from stackgan_jax.runtime import configuration, paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.checkpoint import Checkpoints

MOST = 6  # the most runs whose curves a chart can distinguish

# workdir → its evaluations by one protocol, the one of the checkpoint that is drawn from last
Runs = Mapping[str, Sequence[Record]]


class Cell(NamedTuple):
    """A score in the table, and whether it is the best of its metric."""

    text: str
    best: bool


def compare(
    workdirs: Sequence[Path],
    given: Mapping[str, Any],
    output: Path,
    data: Mapping[str, Any] | None = None,
) -> Runs:
    """Writes a page with a table, pictures and curves of several runs, and prints the table.

    The checkpoint that each run draws from is evaluated first, unless the run's metrics.json
    already has an evaluation of it by the same protocol.

    Args:
        workdirs: of the runs, at most MOST.
        given: evaluation settings of the command line.
        output: path of the page.
        data: values of `config.data` where the data of the runs have moved.

    Returns:
        The evaluations that were compared.

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
    samplers = {run: sample.load(run, of[-1].step) for run, of in runs.items()}
    records.save(output, page(runs, logs, same_captions.draw(samplers, data)))
    print(f"{text(runs)}\n\nTable, pictures and curves: {output}", flush=True)
    return runs


def _require_distinct(directories: Sequence[Path]) -> None:
    if len(directories) > MOST:
        raise UserError(
            f"At most {MOST} runs can be compared at once, not {len(directories)}; give fewer "
            "--workdir."
        )
    if len(set(directories)) < len(directories):
        raise UserError("A run was given twice; give each --workdir once.")


def _evaluations(directory: Path, config: ConfigDict, given: Mapping[str, Any]) -> list[Record]:
    """A run's evaluations by a protocol; evaluates the checkpoint that is drawn from if needed."""
    protocol = protocols.resolve(evaluate.settings_of(directory, given))
    drawn = Checkpoints(directory / "checkpoints", **config.get("keep", {}), read_only=True).best
    known = evaluate.evaluated(directory, protocol)
    if not any(r.step == drawn and evaluate.has_fid_if(protocol, r) for r in known):
        evaluation = evaluate.prepared(directory, config, given)
        drawn = publish(evaluation, evaluation.of(sample.load(directory))).step
        known = evaluate.evaluated(directory, protocol)
    return sorted(known, key=lambda record: record.step == drawn)


def page(runs: Runs, logs: Mapping[str, Log], rows: Sequence[same_captions.Row] = ()) -> str:
    """Returns the comparison as HTML.

    Args:
        runs: with at least one evaluation each.
        logs: workdir → the run's log, which contains the training time of each step.
        rows: pictures of all runs for the same captions.
    """
    names = _metrics(runs)
    return render(
        "comparison.html",
        protocol=next(iter(runs.values()))[-1].protocol,
        runs=runs,
        rows=[
            (TITLES[name], BETTER[name], [_cell(runs, run, name) for run in runs]) for name in names
        ],
        warnings=_warnings(runs),
        cautions=_cautions(runs),
        pictures=rows,
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
    """The metrics of the evaluations of the table, in the order of TITLES."""
    return [name for name in TITLES if _newest_scores(runs, name)]


def _incomparable(runs: Runs, score: Score) -> bool:
    """Whether another run measured this metric in another way."""
    return any(score.differences(other) for other in _newest_scores(runs, score.name))


def _why(runs: Runs, name: str) -> str:
    """In what the runs measured a metric differently, in words; "" for nothing."""
    first, *others = _newest_scores(runs, name)
    fields = {field for other in others for field in first.differences(other)}
    return listed(words for field, words in COMPARABLE.items() if field in fields)


def _figure(runs: Runs, score: Score) -> str:
    mark = " *" if _incomparable(runs, score) else ""
    return number(score.name, score.value) + mark


def _warnings(runs: Runs) -> list[str]:
    """Why metrics can't be compared; those with the same reason share a line."""
    marked: dict[str, list[str]] = {}
    for name in _metrics(runs):
        if why := _why(runs, name):
            marked.setdefault(why, []).append(TITLES[name])
    return [
        f"* not comparable, because the runs differ in {why}: {', '.join(titles)}"
        for why, titles in marked.items()
    ]


def _cautions(runs: Runs) -> list[str]:
    """What a reader of each run's scores must know."""
    return [
        f"Run {place}: {said}"
        for place, evaluations in enumerate(runs.values(), 1)
        for said in cautions.in_words(list(evaluations[-1].scores.values()))
    ]


def _is_honest(score: Score) -> bool:
    """Whether a score is not above that of real pictures, which would flatter."""
    metric = METRICS.get(score.name)
    return metric is None or not cautions.above_real(metric, score.value, score.real)


def _cell(runs: Runs, run: str, name: str) -> Cell:
    score = runs[run][-1].scores.get(name)
    if score is None:
        return Cell("–", False)
    real = "" if score.real is None else f" (real {number(name, score.real)})"
    scores = _newest_scores(runs, name)
    honest = [each.value for each in scores if _is_honest(each)]
    best = {"min": min, "max": max}[BETTER[name]](honest, default=None)
    is_best = len(scores) > 1 and _is_honest(score) and score.value == best
    return Cell(_figure(runs, score) + real, is_best and not _incomparable(runs, score))


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
        curves[run] = binned(sorted(point for point in points if point[0]))
    return Chart(f"{TITLES[name]} ({better} is better)", curves, unit=unit, dots=True)

"""The evaluation commands: a run, two folders of pictures, and a run that is still in training."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from stackgan_jax import sample
from stackgan_jax.evaluation import (
    inception_weights,
    protocols,
    readers,
    records,
    run_setup,
    runs,
    scoring,
    stamps,
)
from stackgan_jax.evaluation.detail import DetailReader
from stackgan_jax.evaluation.evidence import Evidence
from stackgan_jax.evaluation.folders import Folder
from stackgan_jax.evaluation.pretrained_reader import PretrainedReader
from stackgan_jax.evaluation.real_features import real_features
from stackgan_jax.evaluation.records import Record
from stackgan_jax.runtime import configuration, lease, paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.runtime.run_files import saved_steps

CACHE = "~/.cache/stackgan_jax/features"  # the features of folders of real pictures
POLL = 10.0  # seconds between two checks for a new checkpoint


def settings_of(directory: Path, given: Mapping[str, Any]) -> ConfigDict:
    """Returns the `config.eval` of a run.

    Args:
        directory: of the run.
        given: values from the command line; they replace those of the run.
    """
    settings = configuration.evaluation()
    stored = configuration.read(directory / "config.json").get("eval", {})
    settings.update({n: v for n, v in {**stored, **given}.items() if n in settings})
    return settings


def of_run(
    workdir: Path,
    given: Mapping[str, Any],
    step: int | None = None,
    data: Mapping[str, Any] | None = None,
) -> Record:
    """Evaluates a checkpoint of a run, writes and prints its scores.

    Args:
        workdir: of the run.
        given: values of `config.eval` from the command line.
        step: of the checkpoint; None for the newest.
        data: values of `config.data` where the data have moved.

    Raises:
        UserError: without a run or a checkpoint, or where no metric can be computed.
    """
    directory, config = sample.find_run(workdir)
    evaluation = prepared(directory, configuration.with_data(config, data), given)
    return runs.publish(evaluation, evaluation.of(sample.load(directory, step)))


def prepared(directory: Path, config: ConfigDict, given: Mapping[str, Any]) -> runs.Evaluation:
    """Opens everything that the evaluation of a run needs.

    Args:
        directory: of the run.
        config: of the run.
        given: values of `config.eval` from the command line.

    Raises:
        UserError: without a checkpoint, for a damaged metrics.json, or as `run_setup.prepare`.
    """
    require_checkpoint(directory)
    records.read(directory / records.FILE)  # reports a damaged file before the work begins
    protocol = protocols.resolve(settings_of(directory, given))
    return run_setup.prepare(config, directory, protocol)


def require_checkpoint(directory: Path) -> None:
    """Raises UserError for a run without checkpoints."""
    if not saved_steps(directory / "checkpoints"):
        raise UserError(f"There is no checkpoint in {directory} to evaluate; train it first.")


def follow(
    workdir: Path,
    given: Mapping[str, Any],
    data: Mapping[str, Any] | None = None,
    published: Callable[[Record], None] = lambda record: None,
) -> None:
    """Evaluates each checkpoint of a run while another process trains it, until training ends.

    Checkpoints that were evaluated by the same protocol are skipped. The newest checkpoint comes
    first, because training may delete the others meanwhile. For a quickstart, this waits until the
    last stage begins.

    Args:
        workdir: of the run or the quickstart.
        given: values of `config.eval` from the command line.
        data: values of `config.data` where the data have moved.
        published: called with each evaluation after it was written.

    Raises:
        UserError: without a run, or for a run that is not in training and has no checkpoint.
    """
    paths.require_local(workdir, "The run to --follow")
    directory, config = _find_beginning(workdir)
    config = configuration.with_data(config, data)
    protocol = protocols.resolve(settings_of(directory, given))
    if protocol.inception:  # rejects the wrong weights now, not hours later
        inception_weights.load(protocol.inception)
    evaluation, announced, done = None, False, set()
    while True:
        # Checked before the checkpoints: after training has ended, no new one appears.
        ended = not (lease.is_held(directory) or lease.is_held(workdir))
        steps = saved_steps(directory / "checkpoints")
        done |= {r.step for r in evaluated(directory, protocol) if has_fid_if(protocol, r)}
        if waiting := [step for step in steps if step not in done]:
            evaluation = evaluation or prepared(directory, config, given)
            _follow_one(evaluation, waiting[-1], published)
            done.add(waiting[-1])
        elif ended:
            break
        else:
            announced = announced or _announce_wait("next checkpoint", directory)
            time.sleep(POLL)
    if not steps:
        raise UserError(
            f"There is no checkpoint in {directory}, and it is not in training; train it first."
        )
    end = f"at step {steps[-1]:,} of {config.steps:,}"
    print(f"Training of {directory} has ended {end}. All checkpoints are evaluated.", flush=True)


def _find_beginning(workdir: Path) -> tuple[Path, ConfigDict]:
    """Like `sample.find_run`, but waits for the last stage of a quickstart in training."""
    announced = False
    while lease.is_held(workdir) and not _has_a_stage(workdir):
        announced = announced or _announce_wait("last stage", workdir)
        time.sleep(POLL)
    return sample.find_run(workdir)


def _has_a_stage(workdir: Path) -> bool:
    config = workdir / "config.json"
    return config.is_file() and (
        "kind" in configuration.read(config) or _has_a_stage(workdir / "stage2")
    )


def _announce_wait(what: str, directory: Path) -> bool:
    print(f"Waiting for the {what} of {directory} …", flush=True)
    return True


def _follow_one(
    evaluation: runs.Evaluation, step: int, published: Callable[[Record], None]
) -> None:
    try:
        sampler = sample.load(evaluation.directory, step)
    except Exception as error:  # a half-deleted checkpoint can raise anything
        if step in saved_steps(evaluation.directory / "checkpoints"):
            raise
        print(f"Step {step:,} was deleted before it could be read: {error}", flush=True)
        return
    published(runs.publish(evaluation, evaluation.of(sampler)))


def has_fid_if(protocol: protocols.Protocol, record: Record) -> bool:
    """Returns whether a record has an FID, or the protocol doesn't ask for one."""
    return not protocol.inception or "fid" in record.scores


def evaluated(directory: Path, protocol: protocols.Protocol) -> list[Record]:
    """Returns the evaluations of a run by one protocol, oldest step first."""
    return [r for r in records.read(directory / records.FILE) if r.protocol == protocol.name]


def of_folders(
    pictures: Path, reference: Path, given: Mapping[str, Any], workdir: Path | None, output: Path
) -> Record:
    """Scores the pictures of any model against real pictures.

    Args:
        pictures: folder of the model's pictures.
        reference: folder of real pictures, which may have another size.
        given: values of `config.eval` from the command line.
        workdir: of a run whose image encoder reads the pictures as well; None for none.
        output: the metrics.json to write.

    Raises:
        UserError: for unreadable folders, no network to read pictures with, or no metric that is
            possible by the networks.
    """
    settings = configuration.evaluation()
    settings.update(given)
    protocol = protocols.resolve(settings)
    output = paths.output_file(output, "--output", "metrics.json")
    began, made, real = time.monotonic(), Folder(pictures), Folder(reference)
    networks, detail = _networks_of_folders(protocol, workdir), DetailReader()
    generated, actual = {}, {}
    for reader in (*networks, detail):
        progress = runs.progress_of(str(pictures), len(made), "read")
        generated |= readers.read_all(reader, made, progress)
        progress = runs.progress_of(str(reference), len(real), "read")
        actual |= real_features(reader, real, Path(CACHE).expanduser(), progress)
    evidence = Evidence(protocol, generated, actual, _origin_of(made, real))
    scores, left_out = scoring.score(evidence, networks)
    if not scores:
        raise next(iter(left_out.values()))
    more, missing = scoring.score(evidence, [detail])
    seconds = time.monotonic() - began
    record = Record.of(None, protocol.name, seconds, scores + more, left_out | missing)
    records.write(output, [record])
    print(f"{pictures} against {reference}, {record.results()}\n", flush=True)
    print(
        f"Written to {output}, with what each score was measured with; --stamps prints that too.",
        flush=True,
    )
    return record


def _networks_of_folders(
    protocol: protocols.Protocol, workdir: Path | None
) -> list[readers.Reader]:
    chosen: list[readers.Reader] = []
    if protocol.inception:
        chosen.append(readers.InceptionReader.of(protocol))
    if workdir is not None:
        chosen.append(readers.JointReader.of_run(workdir))
    if protocol.pretrained:
        chosen.append(PretrainedReader(protocol.pretrained))
    if not chosen:
        raise UserError(
            f"{inception_weights.HOW_TO_GET}; or set --config.eval.pretrained=lite2; or give "
            "--workdir, a run whose image encoder reads the pictures."
        )
    return chosen


def _origin_of(made: Folder, real: Folder) -> dict[str, Any]:
    sizes = [f"{folder.shape[2]}×{folder.shape[1]}" for folder in (made, real)]
    unknown = "unknown: pictures of a folder"
    return {
        "seed": f"{protocols.METRICS_SEED} (subsets, splits)",
        "truncation": unknown,
        "averaged": unknown,
        "batch_norm": unknown,
        "step": unknown,
        "checkpoint": unknown,
        "pictures": str(made.folder),
        "size": sizes[0] if sizes[0] == sizes[1] else f"{sizes[0]}, real {sizes[1]}",
        "data": str(real.folder),
        "split": "the whole folder",
        "captions": unknown,
        **stamps.here(),
    }

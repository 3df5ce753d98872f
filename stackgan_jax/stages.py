"""Which trainings a config asks for, in order: one stage, its missing text encoder first, or all
the stages of a quickstart with a report at the end."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import jax
from ml_collections import ConfigDict

from stackgan_jax import text
from stackgan_jax.data import registry
from stackgan_jax.evaluation.during_training import in_training
from stackgan_jax.runtime import configuration, paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.loop import claimed, note, train

ORDER = configuration.ORDER


def run(config: ConfigDict, workdir: Path, configs: Path | None = None) -> None:
    """Trains what `config` describes.

    Args:
      config: of one stage (`kind` is one of ORDER), or of a quickstart, which holds one config for
        each of ORDER and names no `kind`.
      workdir: the run's folder; a quickstart makes one folder below it for each stage.
      configs: the folder with `text_encoder.py`, for a stage whose encoder is missing.
    """
    for stage in configuration.stages(config):
        if stage.kind not in ORDER:
            raise UserError(f"Unknown config.kind {stage.kind!r}; choose from {', '.join(ORDER)}.")
        registry.source(stage.data)  # refused, if at all, before anything is written
    if "kind" not in config:
        run_all(config, workdir)
        return
    if config.kind == "stage2":
        _require_stage1(config, workdir)  # before a text encoder is trained for nothing
    with claimed(workdir, config):  # from its text encoder on, for whoever follows it
        if config.kind != "text_encoder":
            _provide_text_encoder(config, workdir, configs)
        train(config, workdir, in_training)


def run_all(config: ConfigDict, workdir: Path) -> None:
    """Text encoder, Stage I, Stage II, report; a stage that is trained is not trained again."""
    from stackgan_jax.report import build

    began = time.monotonic()
    with claimed(workdir, config), contextlib.ExitStack() as beside:
        for number, kind in enumerate(ORDER, 1):
            stage = config[kind].copy_and_resolve_references()
            if kind != "text_encoder":
                stage.text_encoder = str(workdir / "text_encoder")
            if kind == "stage2":
                stage.stage1 = str(workdir / "stage1")
            _say(f"\n== {number}/{len(ORDER)} {stage.name}")
            if kind == "stage1" and jax.process_count() == 1 and isinstance(workdir, Path):
                beside.enter_context(build.classifier_ahead(stage.data, workdir / "report"))
            with _of_stage(kind):
                train(stage, workdir / kind, in_training)
        note(workdir, config)
    if jax.process_index():
        return
    if not isinstance(workdir, Path):
        print(f"{workdir} is trained; for a report copy it to a local disk.", flush=True)
        return
    print("\n== report", flush=True)
    page = build.write(workdir, began=began)
    print(f"Done in {time.monotonic() - began:.0f} s. Look at {page}.", flush=True)


@contextlib.contextmanager
def _of_stage(kind: str) -> Iterator[None]:
    """What a stage's errors say of its config, they say of the quickstart's."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("--config.", f"--config.{kind}.")) from error


def _provide_text_encoder(config: ConfigDict, workdir: Path, configs: Path) -> None:
    """Trains the text encoder that a stage needs where none is found, and says so."""
    own = configuration.has_begun(workdir) and _has_text_encoder(workdir)
    if own or _has_text_encoder(config.text_encoder):
        return
    file = configuration.find_config("configs/text_encoder.py")
    _say(
        f"There is no text encoder in {config.text_encoder}: training it first "
        f"(--config={file} does this alone)."
    )
    encoder = configuration.load(file, config.dataset)
    with encoder.unlocked():
        encoder.data = config.data
    try:
        train(encoder, paths.folder(config.text_encoder), in_training)
    except UserError as error:
        path = f" --config.data.path={config.data.path}" if config.data.path else ""
        raise UserError(
            f"The text encoder can't be trained: {error} Train it by itself: `python -m "
            f"stackgan_jax.main --config={file}:{config.dataset}{path} …`"
        ) from error


def _require_stage1(config: ConfigDict, workdir: Path) -> None:
    """Stage I can take days, so a missing one is never started silently."""
    if configuration.has_begun(workdir) or configuration.has_begun(config.stage1):
        return
    argument = f":{config.dataset}" if config.dataset else ""
    argument += f" --config.data.path={config.data.path}" if config.data.path else ""
    raise UserError(
        f"Stage II needs a trained Stage I and {config.stage1} has none; train it with "
        f"`python -m stackgan_jax.main --config=configs/stage1.py{argument} "
        f"--workdir={config.stage1}`, or name another with --config.stage1."
    )


def _say(sentence: str) -> None:
    """Prints it, once for all processes."""
    if jax.process_index() == 0:
        print(sentence, flush=True)


def _has_text_encoder(path: str | Path) -> bool:
    try:
        text.find(path)
    except UserError:
        return False
    return True

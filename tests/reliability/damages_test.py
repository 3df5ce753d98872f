"""Any file of a run damaged in any way: the run is used as before, or refused in a sentence."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from programs import FIELDS, TRIALS

from stackgan_jax import sample, stages, text
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.training.checkpoint import Checkpoints

KINDS = ("flip", "truncate", "empty", "delete")
CAPTION = "a small red bird with black wings"


def damage(file: Path, kind: str, rng: np.random.Generator) -> None:
    content = bytearray(file.read_bytes())
    if kind == "flip" and content:
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    if kind == "delete":
        file.unlink()
    elif kind == "flip":
        file.write_bytes(content)
    else:
        file.write_bytes(content[: len(content) // 2 if kind == "truncate" else 0])


def outcome(action, *arguments):
    """What an action returns, or the sentence with which it refuses."""
    try:
        return action(*arguments)
    except UserError as error:
        assert "\n" not in str(error).strip(), str(error)
        return str(error)


class Training:
    """What can be done with a run of one kind, and what a sound one answers.

    Args:
        kind: of the training.
        finished: the run of four steps, saved at the second and the fourth.
        config: of the same run with five steps.
        folder: to work in.
    """

    def __init__(self, kind, finished, config, folder):
        self.kind, self.finished, self.config = kind, finished, config
        self.answers, self.ends = [], []
        for newest in (4, 2):
            run = shutil.copytree(finished, folder / f"sound {kind} of step {newest}")
            if newest == 2:
                shutil.rmtree(run / "checkpoints" / "4")
            self.answers.append(self.use(run))
            self.ends.append(self.go_on(run))

    def use(self, run):
        """The pictures, or the embedding, of a caption."""
        if self.kind == "text_encoder":
            return text.load_encoder(run).embed([CAPTION])
        return sample.generate(run, text.embed(run, [CAPTION]), seed=1)[self.kind]

    def go_on(self, run):
        """A part of the state after the fifth step, and the embedding of the encoder there."""
        stages.run(self.config, run)
        field = "ema" if self.kind in FIELDS else "params"
        state = Checkpoints(run / "checkpoints").restore_part((field,)).state
        leaves = [leaf for _, leaf in sorted(flat(state).items())]
        return [*leaves, text.load_encoder(run).embed([CAPTION])]


def same(ours, others):
    """Whether two lists of arrays are equal bit by bit."""
    return all(np.array_equal(one, other) for one, other in zip(ours, others, strict=True))


def flat(tree, prefix=""):
    """Path → array of a nested dict."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {k: v for name, sub in tree.items() for k, v in flat(sub, f"{prefix}/{name}").items()}


@pytest.mark.slow
def test_no_damage_of_a_run_goes_unnoticed_or_ends_in_a_traceback(
    folder_runs, folder_config, tmp_path, capsys
):
    """Every damaged run answers and goes on as a sound one from a saved step, or is refused."""
    needs = {"stage1": ("text_encoder",), "stage2": ("text_encoder", "stage1")}
    trainings = []
    for kind in ("stage1", "stage2", "text_encoder"):
        needed = {name: str(folder_runs / name) for name in needs.get(kind, ())}
        config = folder_config(kind, steps=5, preview_every=1000, **needed)
        trainings.append(Training(kind, folder_runs / kind, config, tmp_path))
    survived = refused = 0
    for trial in range(TRIALS):
        training, rng = trainings[trial % len(trainings)], np.random.default_rng(trial)
        run = shutil.copytree(training.finished, tmp_path / f"run{trial}")
        files = sorted(path for path in run.rglob("*") if path.is_file())
        file, kind = files[rng.integers(len(files))], KINDS[trial // 3 % len(KINDS)]
        damage(file, kind, rng)
        what = f"trial {trial}: {training.kind}, {kind} {file.relative_to(run)}"
        used, after = outcome(training.use, run), outcome(training.go_on, run)
        with capsys.disabled():
            print(f"\n{what}: {used if isinstance(used, str) else 'is used'}; ", end="")
            print(after if isinstance(after, str) else "goes on", flush=True)
        if not isinstance(used, str):
            assert any(np.array_equal(used, each) for each in training.answers), what
        if not isinstance(after, str):
            assert any(same(after, end) for end in training.ends), what
        survived += not isinstance(after, str)
        refused += isinstance(after, str)
        shutil.rmtree(run)
    with capsys.disabled():
        print(f"{TRIALS} damages: {survived} survived, {refused} refused in a sentence.")

"""The embedded data set is prepared by name and only once, by worker processes."""

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stackgan_jax.data import registry
from stackgan_jax.data.synthetic_birds import attributes, captions, worker
from stackgan_jax.runtime.errors import UserError

PLAN = worker.Plan(train_species=12, test_species=4, images_per_species=3, seed=2)


@pytest.fixture(scope="module")
def tiny(data_dir):
    return registry.prepare("synthetic_birds", "tiny", data_dir)


def read(builder, split):
    return list(builder.as_dataset(split=split).as_numpy_iterator())


def test_every_example_follows_its_plan(tiny):
    species = PLAN.species()
    names = tiny.info.features["label"].names
    examples = {split: read(tiny, split) for split in ("train", "test")}
    assert [len(examples[split]) for split in ("train", "test")] == [36, 12]
    for split, each in examples.items():
        for example in each:
            kind = species[example["label"]]
            assert names[example["label"]] == kind.name
            assert (kind.index < 12) == (split == "train")
            assert example["image"].shape == (304, 304, 3) and example["image"].dtype == np.uint8
            truth = {
                name: attributes.ATTRIBUTES[name][value]
                for name, value in example["attributes"].items()
            }
            assert truth.items() >= kind.values.items()
            assert len(example["captions"]) == captions.CAPTIONS_PER_IMAGE
            for text in example["captions"]:
                named = captions.attributes_named(text.decode())
                assert named and named.items() <= truth.items()


def test_workers_draw_the_same_examples_as_this_process():
    species = PLAN.species()
    indices = range(5, 14)
    made = list(worker.examples(PLAN, indices, workers=2))
    assert made == [worker.example(PLAN, species, index) for index in indices]
    image = Image.open(io.BytesIO(made[0]["image"]))
    assert image.size == (304, 304)


def test_a_plan_with_one_direction_changes_only_the_direction():
    plan = dataclasses.replace(PLAN, directions=("right",))
    right, both = (list(worker.examples(p, range(12), 2)) for p in (plan, PLAN))
    assert {example["attributes"]["direction"] for example in right} == {"right"}
    assert {example["attributes"]["direction"] for example in both} == {"left", "right"}
    others = [
        [{**example["attributes"], "direction": None} for example in each] for each in (right, both)
    ]
    assert others[0] == others[1]


def test_examples_are_drawn_here_if_no_worker_can_run(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    made = list(worker.examples(PLAN, range(3), workers=2))
    assert [example["label"] for example in made] == [0, 0, 0]


def test_workers_end_when_their_reader_stops(monkeypatch):
    started = []

    def start(*arguments, popen=subprocess.Popen, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    examples = worker.examples(PLAN, range(PLAN.images), workers=2)
    next(examples)
    examples.close()
    assert [process.poll() is not None for process in started] == [True, True]


def test_a_prepared_data_set_is_not_prepared_again(tiny, data_dir, capfd):
    registry.prepare("synthetic_birds", "tiny", data_dir)
    assert "drawn" not in capfd.readouterr().err


@pytest.mark.slow
def test_one_of_two_processes_prepares_and_removes_interrupted_work(tmp_path):
    left = tmp_path / "synthetic_birds" / "tiny" / "incomplete.ABCDEF_1.0.0"
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    program = (
        "from stackgan_jax.data import registry\n"
        f"made = registry.prepare('synthetic_birds', 'tiny', {str(tmp_path)!r})\n"
        "print(made.info.splits['train'].num_examples)"
    )
    command = [sys.executable, "-c", program]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    outputs = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert [out.split()[-1] for out, _ in outputs] == ["36", "36"]
    # One process drew and printed its progress; the other waited.
    assert sum("36 of 36 images drawn" in errors for _, errors in outputs) == 1
    assert not list(left.parent.glob("incomplete*"))


def test_unknown_names_and_unwritable_folders_raise_user_errors(tmp_path):
    with pytest.raises(UserError, match=r"Unknown dataset 'cubs'; choose from .*synthetic_birds"):
        registry.builder("cubs")
    with pytest.raises(UserError, match=r"Unknown configuration 'huge'.*small.*, large, tiny"):
        registry.builder("synthetic_birds", "huge", tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match=r"Cannot write the data set to .*file.*choose another"):
        registry.builder("synthetic_birds", "tiny", file)


def test_metadata_needs_neither_tensorflow_nor_jax():
    program = (
        "import sys\n"
        "from stackgan_jax.data import registry\n"
        "from stackgan_jax.data.synthetic_birds import captions, worker\n"
        "import json; print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {"tensorflow", "tensorflow_datasets", "jax"}


def test_the_builder_works_like_any_tfds_builder(tmp_path):
    from stackgan_jax.data.synthetic_birds.builder import SyntheticBirds

    builder = SyntheticBirds(config="tiny", data_dir=str(tmp_path))
    builder.download_and_prepare()
    assert builder.info.splits["test"].num_examples == 12
    assert Path(builder.data_path).is_relative_to(tmp_path)

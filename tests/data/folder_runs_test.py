"""Runs train on a folder, and reject the folder after its contents have changed."""

from pathlib import Path

import numpy as np
import pytest
from picture_folders import data_config, picture, prepared, write_files, write_numbered_pictures

from stackgan_jax import sample, stages, text
from stackgan_jax.data import batches, input_pipeline
from stackgan_jax.runtime import configuration
from stackgan_jax.runtime.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"


def test_a_run_rejects_other_data(folder, tmp_path):
    write_numbered_pictures(folder, 10)
    run = tmp_path / "run"
    run.mkdir()
    input_pipeline.record_data(prepared(folder), run)
    input_pipeline.record_data(prepared(folder), run)
    write_files(run, {"checkpoints/4/state": b""})
    write_files(folder, {f"{i:03d}.txt": "other" for i in range(10)})
    with pytest.raises(UserError, match=r"was trained on 9 images .* with other contents"):
        input_pipeline.record_data(prepared(folder), run)


def test_an_encoder_trained_on_other_data_is_reported(folder, tmp_path, capsys):
    write_numbered_pictures(folder, 10)
    input_pipeline.record_data(prepared(folder), tmp_path)
    input_pipeline.warn_of_other_data(prepared(folder), tmp_path)
    assert "other data" not in capsys.readouterr().out
    input_pipeline.warn_of_other_data(prepared(folder, "test"), tmp_path)
    assert "was trained on other data: 9 images of the folder" in capsys.readouterr().out


def test_fewer_images_than_a_batch_raise_a_user_error(folder):
    write_numbered_pictures(folder, 10)
    split = prepared(folder)
    embeddings = batches.CaptionEmbeddings(np.zeros((9, 4), np.float32), np.arange(10))
    with pytest.raises(UserError, match=r"batch_size 64 is more than the .* 9 images; .* to 9"):
        batches.image_text(split.images, split.labels, embeddings, 64, 1, 0)


@pytest.mark.slow
def test_every_stage_trains_on_one_class_without_a_split(folder, small_config, capsys):
    """Trains every stage on 24 pictures of one class; then rejects changed captions."""
    write_files(folder, {f"cat/{i}.png": picture(i, size=(30 + i, 40)) for i in range(24)})
    write_files(folder, {f"cat/{i}.txt": f"a cat with {i} legs" for i in range(24)})
    runs = folder.parent / "runs"

    def config(kind, **changes):
        made = small_config(kind, text_encoder=str(runs / "text_encoder"), **changes)
        with made.unlocked():
            made.data, made.dataset = data_config(folder), "folder"
        return made

    encoder = small_config("text_encoder")
    with encoder.unlocked():
        encoder.data, encoder.dataset = data_config(folder), "folder"
    stages.run(encoder, runs / "text_encoder")
    stages.run(config("stage1"), runs / "stage1")
    stages.run(config("stage2", stage1=str(runs / "stage1")), runs / "stage2")
    assert len(list((runs / "stage2" / "previews").iterdir())) == 2  # of steps 1 and 4
    pictures = sample.generate(runs / "stage2", text.embed(runs / "stage2", ["a dog"]), seed=0)
    assert pictures["stage2"].shape == (1, 64, 64, 3)
    write_files(folder, {"cat/0.txt": "a cat with a hat"})
    other = config("stage1", steps=6)
    other.data.path = str(folder.rename(folder.parent / "other"))
    with pytest.raises(UserError, match="with other contents"):
        stages.run(other, runs / "stage1")
    assert configuration.read(runs / "stage1" / "config.json").data.path == str(folder)

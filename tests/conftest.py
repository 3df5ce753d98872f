"""Eight virtual CPU devices for every test, and small runs that several of them share."""

import atexit
import fcntl
import functools
import gc
import os
import shutil
import tempfile

import hypothesis
import jax
import pytest
from ml_collections import ConfigDict

from stackgan_jax import stages
from stackgan_jax.models import convolution
from stackgan_jax.runtime import configuration

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)

# What one test has compiled another doesn't compile again; processes that tests start neither, nor
# do pytest-xdist's workers, which inherit the folder.
COMPILED = os.environ.get("STACKGAN_JAX_TESTS_COMPILED")
if not COMPILED:
    COMPILED = tempfile.mkdtemp(prefix="stackgan_jax-compiled-")
    os.environ["STACKGAN_JAX_TESTS_COMPILED"] = COMPILED
    atexit.register(shutil.rmtree, COMPILED, ignore_errors=True)
for name, value in {
    "jax_compilation_cache_dir": COMPILED,
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}.items():
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)

# What a few small networks do takes longer to optimise than to run: a third of the suite's time.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
convolution.compiler_options = functools.partial(convolution.compiler_options, once=True)

# Tracing makes many objects that live for long; looking through them took an eighth of the time.
gc.freeze()
gc.set_threshold(100_000, 50, 100)

# The first example of a test imports and compiles, so its time says nothing.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A folder that pytest-xdist's workers have in common."""
    root = tmp_path_factory.getbasetemp()
    return root.parent if "PYTEST_XDIST_WORKER" in os.environ else root


@pytest.fixture(scope="session")
def data_dir(shared):
    """Where the tests' data sets are prepared, once: who comes second waits."""
    return shared / "data"


@pytest.fixture(scope="session")
def small_config(data_dir):
    """kind, **changes → a config of the narrowest networks on the 48 tiny synthetic birds."""

    def make(kind: str, **changes) -> ConfigDict:
        config = configuration.load(f"{kind}.py")
        config.data.update(builder_config="tiny", dir=str(data_dir))
        config.update(batch_size=8, steps=4, log_every=2, preview_every=4, save_every=2)
        if kind == "text_encoder":
            config.text.update(width=16, features=(8, 8, 8))
            config.image.update(features=(8, 8))
            config.update(load_size=19)
            config.joint.update(image_size=16)
        else:
            config.generator.update(features=8, condition=8)
            config.discriminator.update(features=8, condition=8)
            config.training.update(z_features=4)
            config.eval.independent = False  # its training takes minutes
        if kind == "stage1":
            config.generator.size = config.discriminator.size = 16
        elif kind != "text_encoder":
            config.generator.residual_blocks = 1
            config.discriminator.size = 4 ** (1 + int(kind.removeprefix("stage")))
        config.update(changes)
        return config

    return make


@pytest.fixture(scope="session")
def runs(shared, small_config):
    """A folder with four steps of each stage: text_encoder/, stage1/ and stage2/; only to read."""
    folder, done = shared / "runs", shared / "runs.done"
    with (shared / "runs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for kind in () if done.exists() else ("text_encoder", "stage1", "stage2"):
            config = small_config(kind)
            earlier = configuration.previous_stage(config), "text_encoder"
            needs = {name: str(folder / name) for name in earlier if name in config}
            stages.run(small_config(kind, **needs), folder / kind)
        done.touch()
    return folder

"""Speed of the step, the input, sampling and training: `python -m stackgan_jax.benchmark`."""

"""How fast it is: the step, the input, sampling and whole training, by `python -m`."""

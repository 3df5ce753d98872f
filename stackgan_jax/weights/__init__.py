"""Weights of the published programs: PyTorch, TensorFlow and Lua Torch files in, PyTorch out."""

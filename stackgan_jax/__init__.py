"""StackGAN: text to photo-realistic image synthesis in two stages, in JAX and Flax."""

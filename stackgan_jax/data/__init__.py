"""Data sets by name, their preparation and decoding, and the batches made of them."""

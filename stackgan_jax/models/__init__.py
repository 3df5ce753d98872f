"""The networks: pure-functional Flax modules."""

"""Training: the loop, what it trains, one step, and what a run keeps on disk."""

"""The embedded data set: drawn birds with captions that name their attributes."""

"""Trained models to draw with from Python, to keep in one file, and to share on a hub."""

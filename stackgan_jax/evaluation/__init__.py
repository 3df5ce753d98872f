"""Evaluation of pictures: metrics, readers, protocols, stamps, runs and folders."""

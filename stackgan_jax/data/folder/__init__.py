"""Data sets made of a folder with the user's own pictures and captions, in several layouts."""

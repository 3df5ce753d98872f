"""Prepared sets as sharded records in any directory: written, checked and streamed."""

"""Corpus layouts to an index, frames by timestamp, faces, square crops."""

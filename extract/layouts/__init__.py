"""Recognise how a corpus is laid out: one module per layout."""

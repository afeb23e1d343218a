"""Scores to figures and one self-contained page. Draws only: every number comes from classify."""

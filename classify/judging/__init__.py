"""Turn the frames of one file into a verdict, and explain it."""

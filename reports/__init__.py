"""Scores to figures and one self-contained page. Draws only: every number comes from classify."""
import sys

if sys.argv[:1] == ["-m"]:  # run as a command: a data.py in the working directory must not hide our packages
    sys.path.insert(0, __path__[0].rpartition("/")[0])

"""A leak-free labelled split with its audit, and crops as augmented batches."""
import sys

if sys.argv[:1] == ["-m"]:  # run as a command: a data.py in the working directory must not hide our packages
    sys.path.insert(0, __path__[0].rpartition("/")[0])

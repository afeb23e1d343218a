"""A web page and a REST API over the same functions as the commands. The last layer: nothing imports it."""
import sys

if sys.argv[:1] == ["-m"]:  # run as a command: a data.py in the working directory must not hide our packages
    sys.path.insert(0, __path__[0].rpartition("/")[0])

"""The evidence sheet of one file, as a page or as one picture."""

"""Draw a small corpus of people who do not exist, for trying the pipeline and for tests."""

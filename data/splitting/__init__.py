"""Divide an index into train, val and test without leaks, and audit the result."""

"""The shipped detector, and what makes it."""

"""A leak-free labelled split with its audit, and crops as augmented batches."""

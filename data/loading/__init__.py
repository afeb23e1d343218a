"""Turn stored crops into augmented batches for training."""

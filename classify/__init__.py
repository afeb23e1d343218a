"""Networks, training, frame scores, aggregation, verdicts."""

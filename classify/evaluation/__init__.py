"""Score held-out videos and measure how good the scores are."""

"""Networks, pretrained weights, and the checkpoint file with its card."""

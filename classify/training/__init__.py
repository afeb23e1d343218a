"""Train a network: options, recipes, data, epochs."""

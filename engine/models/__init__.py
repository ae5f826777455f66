"""The models: what they are, how they are built, and how their weights are read."""

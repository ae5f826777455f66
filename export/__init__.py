"""Turning weights into files, each checked against PyTorch before it is kept."""

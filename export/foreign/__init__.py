"""Weights and graphs from elsewhere: looked at without trust, imported, merged."""

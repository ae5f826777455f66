"""Engines made ahead of time, or beside a session that answers with PyTorch meanwhile."""

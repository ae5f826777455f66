"""One module a runtime; each is the only place that imports its package."""

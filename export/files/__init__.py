"""What every written file has: a manifest, and all of itself or nothing."""

"""Learning beside a session: the loop, its guard, and what is kept on disk."""

"""One user at one image."""

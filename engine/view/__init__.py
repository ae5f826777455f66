"""What the decoder looks at, and how its answer becomes a mask."""

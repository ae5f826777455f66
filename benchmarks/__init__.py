"""What is measured, and the committed results."""

"""The bundled weights of nano, and their model card."""

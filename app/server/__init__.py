"""``livesam serve``: a folder of images, annotated over HTTP and WebSocket, and a decoder that learns meanwhile."""

"""Images and files in and out: decoded safely, hashed, written whole or not at all."""

"""Encode a folder ahead of time: python examples/embed_folder.py photos"""

import sys
from pathlib import Path

import livesam

done = livesam.embed(sys.argv[1], "embeddings")
print(f"{done.encoded} encoded, {done.found} were there, {len(done.left_out)} left out")
session = livesam.open_session(embeddings="embeddings")
photo = next(path for path in sorted(Path(sys.argv[1]).iterdir()) if path not in done.left_out)
session.set_image(photo)  # read, not encoded
print(session.click(10, 10).mask.shape)
session.close()

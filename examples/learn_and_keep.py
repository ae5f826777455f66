"""Keep what was learned, a file for each domain: python examples/learn_and_keep.py photo.jpg 320 200"""

import sys

import livesam

photo, x, y = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
session = livesam.open_session()
session.domain = "mushrooms"
session.set_image(photo)
with livesam.learn(session, keep="decoders") as learner:
    session.click(x, y)
    session.accept()
    learner.wait(120)
session.close()  # decoders/mushrooms.livesam.safetensors

"""Go on with what was kept: python examples/resume.py photo.jpg 320 200 (after learn_and_keep.py)"""

import sys

import livesam

photo, x, y = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
session = livesam.open_session(adapted="decoders/mushrooms.livesam.safetensors")  # serves without learning
session.set_image(photo)
print("version", session.click(x, y).decoder_version)
session.close()

session = livesam.open_session()
session.domain = "mushrooms"
with livesam.learn(session, keep="decoders") as learner:  # serves, and goes on learning
    learner.wait(120)
    print("version", session.slot.current)
session.close()

"""Go back to the decoder before: python examples/roll_back.py photo.jpg 320 200"""

import sys

import livesam

photo, x, y = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
session = livesam.open_session()
session.set_image(photo)
with livesam.learn(session) as learner:
    session.click(x, y)
    session.accept()
    learner.wait(120)
    learner.rollback(0)  # 0 is the base; session.slot.versions() lists what is kept
    learner.wait(120)
    print("version", session.click(x, y).decoder_version, "serves the base again")
session.close()

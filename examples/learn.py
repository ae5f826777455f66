"""Learn from an accepted mask, in the background: python examples/learn.py photo.jpg 320 200"""

import sys

import livesam

photo, x, y = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
session = livesam.open_session()
session.set_image(photo)
with livesam.learn(session) as learner:
    session.click(x, y)
    session.accept()  # the mask is right
    learner.wait(120)  # a program that goes on working need not wait
    print(learner.stats().counts)
session.close()

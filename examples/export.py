"""Take the decoder to other tools: python examples/export.py photo.jpg 320 200"""

import sys

import livesam

photo, x, y = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
session = livesam.open_session()
session.set_image(photo)
with livesam.learn(session) as learner:
    session.click(x, y)
    session.accept()
    learner.wait(120)
    manifest = livesam.export_decoder(session, "sam-onnx", "decoder.onnx")
print(manifest.parity["claim"])
session.close()

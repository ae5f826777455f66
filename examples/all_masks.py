"""All four masks of one click, part to whole: python examples/all_masks.py photo.jpg 320 200"""

import sys

import livesam

session = livesam.open_session(look=livesam.Look())  # the decoder's own answers, as SamPredictor gives them
session.set_image(sys.argv[1])
prompt = livesam.Prompt((livesam.Click(float(sys.argv[2]), float(sys.argv[3])),))
for token, result in enumerate(session.predict_all(prompt)):
    result.save(f"mask{token}.png")
    print(f"mask {token}: {result.mask.sum()} pixels, estimated IoU {result.iou:.2f}")
session.close()

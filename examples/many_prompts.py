"""Many prompts on one image at once: python examples/many_prompts.py photo.jpg"""

import sys

import livesam

session = livesam.open_session()
session.set_image(sys.argv[1])
height, width = session.embedding.original_hw
grid = [(width * (i + 0.5) / 8, height * (j + 0.5) / 8) for j in range(8) for i in range(8)]
results = session.predict_many([livesam.Prompt((livesam.Click(x, y),)) for x, y in grid])
best = max(results, key=lambda result: result.iou)
best.save("mask.png")
print(f"{len(results)} masks; the best has an estimated IoU of {best.iou:.2f}")
session.close()

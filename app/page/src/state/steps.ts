/** What the user has said about the current object; the server has it too, and gets it again when it was away. */

import { packBits } from "../wire/frames";
import type { Box } from "../wire/types";
import type { Sent, Wire } from "../wire/wire";
import type { Mask } from "../canvas/mask";

export type Step =
  | { op: "click"; x: number; y: number; positive: boolean; choice?: number }
  | { op: "box"; box: Box }
  | { op: "paint"; mask: Mask };

export function say(wire: Wire, step: Step): Sent {
  if (step.op === "click") return wire.send("click", { x: step.x, y: step.y, positive: step.positive });
  if (step.op === "box") {
    const [x0, y0, x1, y1] = step.box;
    return wire.send("box", { x0, y0, x1, y1 });
  }
  const { mask } = step;
  return wire.send("paint", { box: mask.box }, packBits(mask.pixels, mask.cropWidth, mask.cropHeight));
}

/** Everything again, in order; the last answer is the one that counts. */
export function sayAgain(wire: Wire, steps: readonly Step[]): Sent | null {
  let last: Sent | null = null;
  for (const step of steps) {
    last = say(wire, step);
    if (step.op === "click" && step.choice !== undefined) {
      wire.send("candidates");
      last = wire.send("choose", { index: step.choice });
    }
  }
  return last;
}

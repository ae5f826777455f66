/** Draws masks and prompts over the image. The test hook paints with the same code. */

import type { Step } from "../state/steps";
import type { Box } from "../wire/types";
import type { Mask } from "./mask";
import type { View } from "./view";

export type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

export interface Layer {
  mask: Mask;
  color: string;
  opacity: number;
  /** Width of the outline in CSS pixels; 0 draws none. */
  line: number;
  dashed?: boolean;
}

/** Drawn under each outline, so that it shows on any image. */
const HALO = "rgba(0, 0, 0, 0.55)";

export function paintLayer(context: Context, view: View, layer: Layer): void {
  const [x, y] = layer.mask.box;
  context.imageSmoothingEnabled = view.scale < 1;
  context.globalAlpha = layer.opacity;
  if (layer.opacity > 0) context.drawImage(layer.mask.tint(layer.color), x, y);
  context.globalAlpha = 1;
  if (layer.line === 0) return;
  const path = layer.mask.outline();
  context.lineJoin = "round";
  context.setLineDash([]);
  context.strokeStyle = HALO;
  context.lineWidth = (layer.line + 1.5) / view.scale;
  context.stroke(path);
  if (layer.dashed) context.setLineDash([5 / view.scale, 4 / view.scale]);
  context.strokeStyle = layer.color;
  context.lineWidth = layer.line / view.scale;
  context.stroke(path);
  context.setLineDash([]);
}

export function paintSteps(context: Context, view: View, steps: readonly Step[]): void {
  const box = steps.findLast((step) => step.op === "box");
  if (box?.op === "box") paintBox(context, view, box.box);
  for (const step of steps) if (step.op === "click") paintClick(context, view, step.x, step.y, step.positive);
}

/** A green disc with a plus, or a red one with a minus: told apart without colours, too. */
function paintClick(context: Context, view: View, x: number, y: number, positive: boolean): void {
  const unit = 1 / view.scale;
  context.beginPath();
  context.arc(x, y, 7 * unit, 0, 2 * Math.PI);
  context.fillStyle = positive ? "#1b7f3b" : "#c62f2f";
  context.fill();
  context.lineWidth = 1.5 * unit;
  context.strokeStyle = "#fff";
  context.stroke();
  context.beginPath();
  context.moveTo(x - 3.5 * unit, y);
  context.lineTo(x + 3.5 * unit, y);
  if (positive) {
    context.moveTo(x, y - 3.5 * unit);
    context.lineTo(x, y + 3.5 * unit);
  }
  context.lineWidth = 2 * unit;
  context.stroke();
}

export function paintBox(context: Context, view: View, [x0, y0, x1, y1]: Box): void {
  for (const [color, width] of [[HALO, 3.5], ["#fff", 1.5]] as const) {
    context.strokeStyle = color;
    context.lineWidth = width / view.scale;
    context.setLineDash(color === HALO ? [] : [6 / view.scale, 4 / view.scale]);
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
  context.setLineDash([]);
}

export function paintRing(context: Context, view: View, x: number, y: number, radius: number): void {
  for (const [color, width] of [[HALO, 3], ["#fff", 1.25]] as const) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.strokeStyle = color;
    context.lineWidth = width / view.scale;
    context.stroke();
  }
}

/** Where the image lies on the screen: CSS pixels = image pixels * scale + offset. */

export interface View {
  scale: number;
  x: number;
  y: number;
}

export const SMALLEST = 0.02;
export const LARGEST = 40;

/** The whole image in the middle, with a margin. */
export function fit(width: number, height: number, stageWidth: number, stageHeight: number): View {
  const margin = Math.min(24, stageWidth / 20);
  const scale = Math.min((stageWidth - 2 * margin) / width, (stageHeight - 2 * margin) / height, LARGEST);
  return { scale, x: (stageWidth - width * scale) / 2, y: (stageHeight - height * scale) / 2 };
}

/** Zoom by a factor; the image's point under (x, y) of the screen stays there. */
export function zoomed(view: View, factor: number, x: number, y: number): View {
  const scale = Math.min(LARGEST, Math.max(SMALLEST, view.scale * factor));
  const real = scale / view.scale;
  return { scale, x: x - (x - view.x) * real, y: y - (y - view.y) * real };
}

export function moved(view: View, dx: number, dy: number): View {
  return { ...view, x: view.x + dx, y: view.y + dy };
}

export function toImage(view: View, x: number, y: number): [x: number, y: number] {
  return [(x - view.x) / view.scale, (y - view.y) / view.scale];
}

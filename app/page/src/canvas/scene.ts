/** What lies over the image at this moment, from bottom to top: what stays between two clicks, and what they change. */

import type { Annotator } from "../state/annotator";
import { looks } from "../state/looks";
import type { Layer } from "./painter";

/** Told apart in every common colour blindness (Okabe and Ito's orange and sky blue). */
export const NOW = "#56b4e9";
export const ORIGINAL = "#e69f00";
export const PROPOSED = "#f0e442";

/** Accepted objects, and proposals. */
export function resting(annotator: Annotator): Layer[] {
  const found: Layer[] = [];
  const opacity = looks.opacity.value;
  const editing = annotator.editing.value?.id;
  if (looks.masks.value)
    for (const object of annotator.objects.all.value) {
      const mask = annotator.objects.masks.value.get(object.id);
      if (mask && object.id !== editing)
        found.push({ mask, color: annotator.colorOf(object.label), opacity: opacity * 0.7, line: 1 });
    }
  annotator.proposals.all.value.forEach((one, at) => {
    const focused = at === annotator.proposals.at.value;
    found.push({ mask: one.mask, color: PROPOSED, opacity: focused ? opacity : 0, line: focused ? 2.5 : 1.25, dashed: !focused });
  });
  return found;
}

/** The current object. */
export function current(annotator: Annotator): Layer[] {
  const found: Layer[] = [];
  const opacity = looks.opacity.value;
  const color = annotator.colorOf(annotator.label.value);
  if (annotator.comparison.value.length > 0) {
    for (const { mask, entry } of annotator.comparison.value)
      if (mask) found.push({ mask, color: entry.name === "original" ? ORIGINAL : NOW, opacity: 0.12, line: 2, dashed: entry.name === "original" });
  } else if (annotator.mask.value) {
    found.push({ mask: annotator.mask.value, color, opacity, line: 1.75 });
  } else if (annotator.preview.value) {
    found.push({ mask: annotator.preview.value, color, opacity: opacity * 0.6, line: 1, dashed: true });
  }
  return found;
}

/** How this user looks at images; kept in the browser. */

import { effect, signal, type Signal } from "@preact/signals";

export type Tool = "click" | "brush" | "eraser";
export type Theme = "auto" | "light" | "dark";

function kept<T>(name: string, first: T): Signal<T> {
  let value = first;
  try {
    const found = localStorage.getItem(`livesam.${name}`);
    if (found !== null) value = JSON.parse(found) as T;
  } catch {
    // storage is switched off, or holds something else: begin anew
  }
  const made = signal(value);
  let last = value;
  effect(() => {
    if (made.value === last) return;
    last = made.value;
    try {
      localStorage.setItem(`livesam.${name}`, JSON.stringify(last));
    } catch {
      // lasts as long as the page then
    }
  });
  return made;
}

export const looks = {
  tool: signal<Tool>("click"),
  brush: kept("brush", 12), // diameter in pixels of the image
  opacity: kept("opacity", 0.45),
  contrast: signal(1),
  brightness: signal(1),
  hover: kept("hover", false),
  theme: kept<Theme>("theme", "auto"),
  masks: signal(true), // accepted ones are shown
};

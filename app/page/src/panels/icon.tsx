/** Line icons of 20 x 20, drawn in the text's colour. */

const PATHS = {
  click: "M4 3l5.5 13 2-5.2L17 9z",
  brush: "M16.5 3.5l-7 7M9 10c2 .4 2.7 2 2 3.7-.7 1.8-3.500 2.800-7 2.300 1.200-.8 1.300-1.800 1.500-3C5.900 11 7.500 9.700 9 10z",
  eraser: "M8.500 16.500H16M11 4.500l5 5-6.500 7H7l-4-4z M7 8.500l5 5",
  undo: "M7 4L3.500 7.500 7 11M3.500 7.500H12a4.500 4.500 0 0 1 0 9H8",
  redo: "M13 4l3.500 3.500L13 11M16.500 7.500H8a4.500 4.500 0 0 0 0 9h4",
  reset: "M5 5l10 10M15 5L5 15",
  accept: "M4 10.500l4 4 8-9",
  previous: "M12 4l-6 6 6 6",
  next: "M8 4l6 6-6 6",
  cycle: "M4 8V4h8v8h-4M8 8h8v8H8z",
  compare: "M10 3v14M8 6H4v8h4M12 6h4v8h-4",
  rest: "M4 4h4v4H4zM12 4h4v4h-4zM4 12h4v4H4zM14 11.500v5M11.500 14h5",
  fit: "M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4",
  plus: "M10 4v12M4 10h12",
  minus: "M4 10h12",
  edit: "M4 16l.8-3.200L13 4.600l2.400 2.400-8.200 8.200z",
  remove: "M4.500 6h11M8 6V4h4v2M6 6l.8 10h6.400L14 6",
  help: "M7.500 7.500a2.500 2.500 0 1 1 3.600 2.300c-.8.400-1.100.9-1.100 1.700M10 14.500v.3",
  light: "M10 6.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7zM10 2v2M10 16v2M2 10h2M16 10h2M4.300 4.300l1.400 1.400M14.300 14.300l1.400 1.400M4.300 15.700l1.400-1.400M14.300 5.700l1.400-1.400",
  dark: "M16 11.500A6.500 6.500 0 0 1 8.500 4a6.500 6.500 0 1 0 7.500 7.500z",
  auto: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM10 3v14M13 4v12",
  out: "M10 3v9M6.500 8.500L10 12l3.500-3.500M4 16h12",
  done: "M3.500 10.500l3.500 3.500 6-7M10.500 13.500l.5.500 6-7",
  panel: "M3 4h14v12H3zM12 4v12",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" width="18" height="18" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}

/** What the server says, as docs/api.md has it. Coordinates are pixels of the original image. */

export type Box = [x0: number, y0: number, x1: number, y1: number];

export interface Label {
  name: string;
  color: string;
}

export interface Info {
  version: string;
  model: string;
  runtime: string;
  folder: string;
  domain: string;
  /** Where the last user was. */
  image: string | null;
  /** The place in the list where to go on. */
  index: number | null;
  /** The model is open. */
  ready: boolean;
  learning: boolean;
  labels: Label[];
  export_formats: string[];
  import_formats: string[];
  decoder_formats: string[];
}

export type ImageState = "new" | "started" | "done";

export interface ImageItem {
  id: string;
  name: string;
  state: ImageState;
  objects: number;
}

export interface ImageList {
  total: number;
  done: number;
  items: ImageItem[];
}

/** Opaque: it is only ever handed back. */
export type Id = string | number;

export interface AnnotatedObject {
  id: Id;
  label: string;
  box: Box;
  area: number;
  iou: number;
  version: number;
  clicks: number;
  created: string;
  source: string;
}

export interface ImageDetails {
  id: string;
  name: string;
  width: number;
  height: number;
  deep: boolean;
  range: [low: number, high: number];
  state: ImageState;
  objects: AnnotatedObject[];
}

export interface Learning {
  enabled: boolean;
  domain: string;
  version: number;
  versions: { version: number; label: string; created: string | null }[];
  objects: number;
  clicks: number;
  waiting: number;
  published: number;
  /** `when` in seconds since 1970. */
  refused: { when: number; why: string }[];
  history: { object: Id; clicks: number; version: number; label: string }[];
  latency_ms: { p50: number | null; p95: number | null };
  last_error: string | null;
  preparing: string | null;
}

/** The header of an answer; which fields are there depends on what was asked. */
export interface Header {
  re?: number;
  event?: string;
  kind?: "mask" | "masks";
  error?: { code: string; message: string };
  image?: string;
  width?: number;
  height?: number;
  box?: Box | null;
  iou?: number;
  version?: number;
  ms?: number;
  stages?: Record<string, number>;
  clicks?: number;
  preview?: boolean;
  masks?: MaskEntry[];
  object?: AnnotatedObject;
  why?: string;
  [other: string]: unknown;
}

export interface MaskEntry {
  box: Box | null;
  iou: number;
  name?: string;
  id?: Id;
  offset: number;
  length: number;
}

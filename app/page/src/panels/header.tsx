import { useRef } from "preact/hooks";
import { looks, type Theme } from "../state/looks";
import type { Store } from "../state/store";
import { Button } from "./button";
import { Menu } from "./menu";

const NEXT_THEME: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };

export function Header({ store, onHelp, onPanel }: { store: Store; onHelp: () => void; onPanel: () => void }) {
  const info = store.info.value;
  const [done, total] = [store.done.value, store.total.value];
  const theme = looks.theme.value;
  const picker = useRef<HTMLInputElement>(null);
  return (
    <header class="header">
      <strong class="brand">livesam</strong>
      {info && (
        <span class="where" title={`${info.folder}: ${info.model} on ${info.runtime}`}>
          {info.folder.split("/").filter(Boolean).at(-1) ?? info.folder}
        </span>
      )}
      {total > 0 && (
        <div class="progress">
          <progress max={total} value={done} aria-label="Images done" />
          <span>
            {done} of {total} done
          </span>
        </div>
      )}
      <Link store={store} />
      <div class="group group--end">
        <Menu icon="out" label="Import and export annotations" text="Import, export">
          {(info?.export_formats ?? []).map((format) => (
            <button key={format} type="button" role="menuitem" onClick={() => void store.save(`export/${format}`, NAMES[format] ?? format)}>
              {NAMES[format] ?? format}
            </button>
          ))}
          <hr />
          {(info?.import_formats ?? []).map((format) => (
            <button
              key={format}
              type="button"
              role="menuitem"
              onClick={() => {
                picker.current!.dataset.format = format;
                picker.current!.click();
              }}
            >
              Import {NAMES[format] ?? format}…
            </button>
          ))}
        </Menu>
        <input
          ref={picker}
          type="file"
          hidden
          accept=".json,.zip"
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            if (file) void store.takeIn(event.currentTarget.dataset.format!, file);
            event.currentTarget.value = "";
          }}
        />
        <Button quiet icon={theme} label={`Colours: ${theme}`} onClick={() => (looks.theme.value = NEXT_THEME[theme])} />
        <Button quiet icon="help" label="Keys" action="help" onClick={onHelp} />
        <span class="only-narrow">
          <Button quiet icon="panel" label="Panel" onClick={onPanel} />
        </span>
      </div>
    </header>
  );
}

const NAMES: Record<string, string> = { coco: "COCO", "coco-rle": "COCO with RLE masks", png: "PNG label maps", labelme: "labelme JSON", yolo: "YOLO segmentation", cvat: "CVAT XML" };

function Link({ store }: { store: Store }) {
  const state = store.socket.state.value;
  if (state === "open") return null;
  return (
    <span class="link-state" role="status">
      {state === "connecting" ? "Connecting…" : "Server away, trying again…"}
    </span>
  );
}

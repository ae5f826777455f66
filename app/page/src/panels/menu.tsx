import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Icon, type IconName } from "./icon";

interface Props {
  icon?: IconName;
  label: string;
  text: string;
  disabled?: boolean;
  /** Opens upwards. */
  up?: boolean;
  children: ComponentChildren;
}

/** A button with a list under it; arrows walk it, Escape closes it. */
export function Menu({ icon, label, text, disabled, up, children }: Props) {
  const open = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open.value) return;
    items(root.current!)[0]?.focus();
    const outside = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) open.value = false;
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [open.value]);
  const walk = (event: KeyboardEvent) => {
    if (!open.value) return;
    const all = items(root.current!);
    const at = all.indexOf(document.activeElement as HTMLElement);
    if (event.key === "Escape") {
      open.value = false;
      root.current!.querySelector("button")!.focus();
    } else if (event.key === "ArrowDown") all[(at + 1) % all.length]?.focus();
    else if (event.key === "ArrowUp") all[(at - 1 + all.length) % all.length]?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div class="menu" ref={root} onKeyDown={walk}>
      <button type="button" class="button" aria-haspopup="menu" aria-expanded={open.value} aria-label={label} title={label} disabled={disabled} onClick={() => (open.value = !open.value)}>
        {icon && <Icon name={icon} />}
        <span>{text}</span>
      </button>
      {open.value && (
        <div class={up ? "menu__list menu__list--up" : "menu__list"} role="menu" aria-label={label} onClick={() => (open.value = false)}>
          {children}
        </div>
      )}
    </div>
  );
}

function items(root: HTMLElement): HTMLElement[] {
  return [...root.querySelectorAll<HTMLElement>("[role=menuitem]")];
}

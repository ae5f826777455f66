import type { ComponentChildren } from "preact";
import { type Action, hint } from "../state/keys";
import { Icon, type IconName } from "./icon";

interface Props {
  icon?: IconName;
  label: string;
  action?: Action;
  onClick: () => void;
  pressed?: boolean;
  disabled?: boolean;
  primary?: boolean;
  /** Only the icon is seen. */
  quiet?: boolean;
  children?: ComponentChildren;
}

/** A button with its key in the tooltip. It gives the focus back to the stage when a mouse has clicked it. */
export function Button({ icon, label, action, onClick, pressed, disabled, primary, quiet, children }: Props) {
  return (
    <button
      type="button"
      class={`button ${primary ? "button--primary" : ""} ${quiet ? "button--quiet" : ""}`}
      title={action ? `${label} (${hint(action)})` : label}
      aria-label={label}
      aria-pressed={pressed}
      aria-keyshortcuts={action ? hint(action) : undefined}
      disabled={disabled}
      onClick={(event) => {
        onClick();
        if (event.detail > 0) (event.currentTarget.getRootNode() as ParentNode).querySelector<HTMLElement>(".stage")?.focus({ preventScroll: true });
      }}
    >
      {icon && <Icon name={icon} />}
      {!quiet && <span>{children ?? label}</span>}
    </button>
  );
}

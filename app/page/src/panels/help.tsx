import { useEffect, useRef } from "preact/hooks";
import { BINDINGS, POINTER, written } from "../state/keys";

/** The sheet of keys. A native dialog: it keeps the focus and closes with Escape by itself. */
export function Help({ open, onClose }: { open: boolean; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open) dialog.current?.showModal?.();
    else dialog.current?.close?.();
  }, [open]);
  const groups = [...new Set(BINDINGS.map((one) => one.group))];
  return (
    <dialog ref={dialog} class="sheet" aria-labelledby="keys" onClose={onClose} onClick={(event) => event.target === dialog.current && onClose()}>
      <div class="sheet__head">
        <h2 id="keys">Keys</h2>
        <button type="button" class="button" onClick={onClose}>
          Close
        </button>
      </div>
      <div class="sheet__groups">
        <section>
          <h3>Mouse and touch</h3>
          <dl>
            {POINTER.map(([how, what]) => (
              <div key={how}>
                <dt>{how}</dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
        </section>
        {groups.map((group) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {BINDINGS.filter((one) => one.group === group).map((one) => (
                <div key={one.action}>
                  <dt>
                    {[...new Set(one.keys.map(written))].map((key) => (
                      <kbd key={key}>{key}</kbd>
                    ))}
                  </dt>
                  <dd>{one.text}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </dialog>
  );
}

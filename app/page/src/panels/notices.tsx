import { useEffect } from "preact/hooks";
import type { Annotator } from "../state/annotator";

const SHOWN_MS = 3500;
const BAD_SHOWN_MS = 9000;

/** The last thing to say: seen for a while, and read out. */
export function Notices({ annotator }: { annotator: Annotator }) {
  const notice = annotator.notice.value;
  useEffect(() => {
    if (!notice) return;
    const timer = setTimeout(() => (annotator.notice.value = null), notice.bad ? BAD_SHOWN_MS : SHOWN_MS);
    return () => clearTimeout(timer);
  }, [notice]);
  return (
    <div class="notices" role="status" aria-live={notice?.bad ? "assertive" : "polite"}>
      {notice && <div class={notice.bad ? "notice notice--bad" : "notice"}>{notice.text}</div>}
    </div>
  );
}

import type { Annotator } from "../state/annotator";
import { Button } from "./button";

/** Below the stage, so that it covers nothing, while there is something to decide. */
export function ProposalBar({ annotator }: { annotator: Annotator }) {
  const { proposals } = annotator;
  const count = proposals.all.value.length;
  if (count === 0) return null;
  const go = (by: number) => proposals.select((proposals.at.value + by + count) % count);
  return (
    <div class="bar" role="group" aria-label="Proposals">
      <span>
        Proposal {proposals.at.value + 1} of {count}
      </span>
      <Button quiet icon="previous" label="Proposal before" onClick={() => go(-1)} />
      <Button quiet icon="next" label="Proposal after" onClick={() => go(1)} />
      <Button primary icon="accept" label="Accept this proposal" action="take" onClick={() => void proposals.decide(true)}>
        Accept <kbd>Y</kbd>
      </Button>
      <Button icon="reset" label="Discard this proposal" action="drop" onClick={() => void proposals.decide(false)}>
        Discard <kbd>N</kbd>
      </Button>
      <Button label="Discard all proposals" onClick={() => void proposals.dropAll()}>
        Discard all
      </Button>
    </div>
  );
}

export function CompareLegend({ annotator }: { annotator: Annotator }) {
  if (annotator.comparison.value.length === 0) return null;
  return (
    <div class="bar" role="note">
      <span class="key key--now" /> now
      <span class="key key--original" /> original decoder
      <Button label="Close the comparison" action="compare" onClick={() => void annotator.compare()}>
        Close <kbd>C</kbd>
      </Button>
    </div>
  );
}

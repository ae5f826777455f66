import type { Store } from "../state/store";
import { whose } from "../wire/http";
import type { Learning } from "../wire/types";
import { Button } from "./button";
import { Chart, mean } from "./chart";
import { Menu } from "./menu";

export function LearningPanel({ store }: { store: Store }) {
  const learning = store.learning.value;
  if (!learning) return null;
  const { annotator } = store;
  return (
    <section class="section" aria-labelledby="learning">
      <h2 id="learning">
        Learning
        <label class="switch">
          <input type="checkbox" role="switch" checked={learning.enabled} onChange={(event) => void store.setLearning(event.currentTarget.checked)} />
          <span>{learning.enabled ? "on" : "off"}</span>
        </label>
      </h2>
      <dl class="facts">
        <Fact name="Decoder" value={`v${learning.version}`} title={`Domain ${learning.domain}; ${learning.published} published`} />
        <Fact name="Objects" value={String(learning.objects)} title={learning.waiting ? `Accepted; ${learning.waiting} of them are waiting to be learned from` : "Accepted"} />
        <Fact name="Clicks" value={String(learning.clicks)} title="Of the accepted objects" />
        <Fact name="Refused" value={String(learning.refused.length)} title="Candidates that the guard did not let through" />
      </dl>
      <Falling learning={learning} />
      <Times store={store} learning={learning} />
      {learning.preparing && <p class="hint">{learning.preparing}</p>}
      {learning.last_error && <p class="bad">Trouble with learning: {learning.last_error}</p>}
      {learning.refused.length > 0 && (
        <details class="sub">
          <summary>What the guard refused</summary>
          <ul class="refused">
            {learning.refused.slice(-8).reverse().map((one) => (
              <li key={one.when}>
                <time>{clock(one.when * 1000)}</time> {one.why}
              </li>
            ))}
          </ul>
        </details>
      )}
      <div class="group group--wrap">
        <Button label="Compare with the original decoder" action="compare" pressed={annotator.comparison.value.length > 0} disabled={!annotator.begun.value} onClick={() => void annotator.compare()}>
          Compare
        </Button>
        <RollBack store={store} learning={learning} />
        <Menu label="Export this decoder" text="Export" up>
          {(store.info.value?.decoder_formats ?? []).map((format) => (
            <button key={format} type="button" role="menuitem" onClick={() => void store.save(whose(`decoder/${format}`), format)}>
              {format}
            </button>
          ))}
        </Menu>
      </div>
    </section>
  );
}

function Fact({ name, value, title }: { name: string; value: string; title: string }) {
  return (
    <div title={title}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Falling({ learning }: { learning: Learning }) {
  const clicks = learning.history.map((one) => one.clicks).filter((count) => count > 0); // proposals took none
  if (clicks.length === 0) return <p class="hint">Every object that you accept teaches the decoder. Here you will see how many clicks each one took.</p>;
  const [first, last] = [mean(clicks.slice(0, 5)), mean(clicks.slice(-5))];
  return (
    <figure class="figure">
      <figcaption>
        Clicks an object{" "}
        {clicks.length >= 10 && (
          <strong>
            {first.toFixed(1)} → {last.toFixed(1)}
          </strong>
        )}
      </figcaption>
      <Chart clicks={clicks} />
    </figure>
  );
}

function Times({ store, learning }: { store: Store; learning: Learning }) {
  const { p50, p95 } = store.annotator.latency;
  const ms = (value: number | null) => (value === null ? "–" : `${Math.round(value)}`);
  return (
    <table class="times">
      <caption class="unseen">Milliseconds from click to mask</caption>
      <thead>
        <tr>
          <th scope="col">ms a click</th>
          <th scope="col">p50</th>
          <th scope="col">p95</th>
        </tr>
      </thead>
      <tbody>
        <tr>
          <th scope="row">until painted</th>
          <td>{ms(p50.value)}</td>
          <td>{ms(p95.value)}</td>
        </tr>
        <tr>
          <th scope="row">in the server</th>
          <td>{ms(learning.latency_ms.p50)}</td>
          <td>{ms(learning.latency_ms.p95)}</td>
        </tr>
      </tbody>
    </table>
  );
}

function RollBack({ store, learning }: { store: Store; learning: Learning }) {
  const older = learning.versions.filter((one) => one.version !== learning.version).slice(-12).reverse();
  return (
    <Menu label="Roll back to an earlier decoder" text="Roll back" disabled={older.length === 0} up>
      {older.map((one) => (
        <button key={one.version} type="button" role="menuitem" onClick={() => void store.rollBack(one.version)}>
          v{one.version} {one.label && <small>{one.label}</small>} <small>{clock(one.created)}</small>
        </button>
      ))}
    </Menu>
  );
}

/** @param when ISO 8601, or milliseconds since 1970 */
function clock(when: string | number | null): string {
  const date = new Date(when ?? NaN);
  return Number.isNaN(date.valueOf()) ? "" : date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** Clicks an object, one dot each, and the mean of the last five. */

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [268, 104, 22, 16, 8];
const WINDOW = 5;
const MOST = 200; // objects drawn; older ones are left out

export function Chart({ clicks }: { clicks: readonly number[] }) {
  const from = Math.max(0, clicks.length - MOST);
  const shown = clicks.slice(from);
  const top = Math.max(4, ...shown);
  const x = (at: number) => LEFT + 6 + (at / Math.max(1, shown.length - 1)) * (WIDTH - LEFT - 12);
  const y = (value: number) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
  const means = shown.map((_, at) => mean(clicks.slice(Math.max(0, from + at - WINDOW + 1), from + at + 1)));
  return (
    <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={spoken(clicks)}>
      {[0, top / 2, top].map((value) => (
        <g key={value}>
          <line x1={LEFT} x2={WIDTH} y1={y(value)} y2={y(value)} class="chart__grid" />
          <text x={LEFT - 5} y={y(value) + 3} text-anchor="end">
            {Math.round(value * 10) / 10}
          </text>
        </g>
      ))}
      <text x={LEFT} y={HEIGHT - 3}>
        object {from + 1}
      </text>
      <text x={WIDTH - 2} y={HEIGHT - 3} text-anchor="end">
        {clicks.length}
      </text>
      {shown.map((value, at) => (
        <circle key={at} cx={x(at)} cy={y(value)} r="2.2" class="chart__dot" />
      ))}
      {shown.length > 1 && <polyline class="chart__line" points={means.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ")} />}
    </svg>
  );
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function spoken(clicks: readonly number[]): string {
  return `Clicks an object over ${clicks.length} objects: ${mean(clicks.slice(0, WINDOW)).toFixed(1)} for the first ${WINDOW}, ${mean(clicks.slice(-WINDOW)).toFixed(1)} for the last ${WINDOW}`;
}

/** A small chart of the last minutes, with a scale beside it. */

const SPACE = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [300, 90];

/**
 * Draw points, the newest at the right edge.
 *
 * @param {{at: number, y: number|null}[]} points milliseconds and values; null leaves a gap
 * @param {number} span milliseconds from the left edge to the right one
 * @param {number} top the value at the upper edge; 0 is at the lower one
 */
export function draw(svg, points, span, top, label) {
  const end = points.at(-1)?.at ?? 0;
  const x = (at) => WIDTH - ((end - at) / span) * WIDTH;
  const y = (value) => HEIGHT - (value / top) * HEIGHT;
  const parts = split(points).map((part) => part.map((point) => [x(point.at), y(point.y)]));
  svg.replaceChildren(
    ...[top, top / 2].map((value) => path("rule", `M0 ${y(value)}H${WIDTH}`)),
    ...parts.map((part) => path("area", area(part))),
    ...parts.map((part) => path("line", line(part))),
  );
  svg.setAttribute("aria-label", label);
}

/** The smallest of …, 1, 2, 5, 10, 20, 50, … that no point is above; 1 if all are 0. */
export function scale(points) {
  const highest = Math.max(0, ...points.map((point) => point.y ?? 0));
  if (!highest) return 1;
  const power = 10 ** Math.floor(Math.log10(highest));
  return [1, 2, 5, 10].map((step) => step * power).find((top) => top >= highest);
}

/** The parts of the points that have no gap in them. */
function split(points) {
  const parts = [[]];
  for (const point of points) {
    if (point.y === null) parts.push([]);
    else parts.at(-1).push(point);
  }
  return parts.filter((part) => part.length);
}

const line = (part) => `M${part.map((pair) => pair.map((n) => n.toFixed(1)).join(" ")).join("L")}`;

const area = (part) => `${line([...part, [part.at(-1)[0], HEIGHT], [part[0][0], HEIGHT]])}Z`;

function path(name, d) {
  const node = document.createElementNS(SPACE, "path");
  node.setAttribute("class", name);
  node.setAttribute("d", d);
  node.setAttribute("vector-effect", "non-scaling-stroke");
  return node;
}

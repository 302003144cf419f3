/** A small chart of the last minutes. */

const SPACE = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, TOP] = [300, 90, 8];

/**
 * Draw points, the newest at the right edge.
 *
 * @param {{at: number, y: number|null}[]} points milliseconds and values; null leaves a gap
 * @param {number} span milliseconds from the left edge to the right one
 */
export function draw(svg, points, span, label) {
  const end = points.at(-1)?.at ?? 0;
  const highest = Math.max(...points.map((point) => point.y ?? 0), Number.MIN_VALUE);
  const x = (at) => WIDTH - ((end - at) / span) * WIDTH;
  const y = (value) => HEIGHT - (value / highest) * (HEIGHT - TOP);
  const parts = split(points).map((part) => part.map((point) => [x(point.at), y(point.y)]));
  svg.replaceChildren(
    ...parts.map((part) => path("area", area(part))),
    ...parts.map((part) => path("line", line(part))),
  );
  svg.setAttribute("aria-label", label);
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

/** The service's measurements (Prometheus text), and what happened between two of them. */

const HISTOGRAM = "sharedstate_http_request_duration_seconds";
const LINE = new RegExp(`^${HISTOGRAM}_(bucket|count)\\{(.*)\\} (\\S+)`, "gm");
const BOUND = /(?:^|,)le="([^"]+)"/;

/** All routes together: how many requests, and how many took at most so many seconds. */
export function read(text) {
  let count = 0;
  const buckets = new Map();
  for (const [, kind, labels, number] of text.matchAll(LINE)) {
    if (kind === "count") {
      count += Number(number);
    } else {
      const bound = Number(BOUND.exec(labels)[1].replace("+Inf", "Infinity"));
      buckets.set(bound, (buckets.get(bound) ?? 0) + Number(number));
    }
  }
  return { count, buckets };
}

/**
 * What happened from one reading to the next.
 *
 * @returns {{rate: number, p99: number|null}|null} requests a second, and the seconds in which 99
 *     of 100 were served; null if the service began to count anew
 */
export function between(older, newer, seconds) {
  const count = newer.count - older.count;
  if (count < 0) return null;
  const bounds = [...newer.buckets.keys()].sort((a, b) => a - b);
  const upTo = bounds.map((bound) => newer.buckets.get(bound) - (older.buckets.get(bound) ?? 0));
  return { rate: count / seconds, p99: count ? quantile(0.99, bounds, upTo) : null };
}

/** As PromQL's histogram_quantile: a straight line inside the bucket. */
function quantile(share, bounds, upTo) {
  const rank = share * upTo.at(-1);
  const i = upTo.findIndex((count) => count >= rank);
  const [low, below] = i > 0 ? [bounds[i - 1], upTo[i - 1]] : [0, 0];
  if (bounds[i] === Infinity) return low;
  return low + ((bounds[i] - low) * (rank - below)) / (upTo[i] - below);
}

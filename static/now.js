/** The section “Now”: the store, whether it is ready, who serves, and how fast. */

import { get, Problem } from "./api.js";
import { draw, scale } from "./chart.js";
import { byId, plural, setText } from "./dom.js";
import { between, read } from "./metrics.js";
import { Poll } from "./poll.js";

const EVERY = 2000;
const SPAN = 3 * 60_000;
const METRICS_RETRY = 30_000;
const SHARED_BY = {
  process: "the threads of one process",
  host: "all processes of this host",
  network: "all that reach it",
};

const workers = new Set();
const samples = [];
let lastReading = null;
let metricsFrom = 0;

export const polls = [
  new Poll("store", showStore, EVERY),
  new Poll("ready", showReadiness, EVERY),
  new Poll("metrics", showMetrics, EVERY),
];

async function showStore() {
  const { body: store } = await get("v1/store");
  setText(byId("store-type"), store.type);
  setText(byId("store-scope"), SHARED_BY[store.scope] ?? store.scope);
  setText(byId("store-durability"), store.durability);
  setText(byId("store-entries"), known(store.entries, entries));
  setText(byId("store-size"), known(store.bytes, bytes));
  setText(byId("worker"), worker(store));
}

/** The process that responded, and those that did before. */
function worker({ worker: now, workers: count, threads }) {
  workers.add(now);
  const others = [...workers].filter((pid) => pid !== now).slice(-3);
  const before = others.length ? ` (before: ${others.join(", ")})` : "";
  const all = count && `, of ${plural(count, "worker")} × ${plural(threads, "thread")}`;
  return `process ${now}${before}${all ?? ""}`;
}

async function showReadiness() {
  try {
    await get("health/ready");
    ready("yes", "Ready");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    ready("no", `Not ready: ${error.message}`);
    // Workers that share nothing are no outage; all else is for the banner.
    if (!error.type.endsWith(":not-shared")) throw error;
  }
}

function ready(state, text) {
  byId("ready").dataset.state = state;
  setText(byId("ready"), text);
}

async function showMetrics() {
  if (performance.now() < metricsFrom) return;
  try {
    measured(performance.now(), read((await get("metrics")).body));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    metricsFrom = performance.now() + METRICS_RETRY;
    lastReading = null;
    for (const id of ["rate", "latency"]) show(id, "not available", []);
  }
}

function measured(at, reading) {
  const past = lastReading && between(lastReading.reading, reading, (at - lastReading.at) / 1000);
  lastReading = { at, reading };
  samples.push({ at, rate: past?.rate ?? null, p99: past?.p99 ?? null });
  while (samples[0].at < at - SPAN) samples.shift();
  if (!past) return;
  const rates = samples.map(({ at, rate }) => ({ at, y: rate }));
  show("rate", perSecond(past.rate), rates, perSecond, (rate) => `${plain(rate)}/s`);
  const latencies = samples.map(({ at, p99 }) => ({ at, y: p99 }));
  show("latency", duration(past.p99), latencies, duration, (time) => `${plain(time * 1000)} ms`);
}

/** Show the newest value as `text`, all of them in the chart, and `ticks` at its scale. */
function show(id, text, points, words, ticks) {
  const figure = byId(id);
  figure.dataset.known = points.length ? "yes" : "no";
  setText(figure.querySelector("output"), text);
  const most = Math.max(...points.map((point) => point.y ?? 0));
  const label = points.length ? `Now ${text}, at most ${words(most)}` : text;
  const top = scale(points);
  draw(figure.querySelector("svg"), points, SPAN, top, label);
  [top, top / 2, 0].forEach((value, i) => {
    setText(figure.querySelectorAll(".scale span")[i], points.length ? ticks(value) : "");
  });
}

/** A number without digits that only the computer's arithmetic has put there. */
const plain = (number) => Number(number.toPrecision(3)).toLocaleString();

const perSecond = (rate) => (rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString());

const duration = (seconds) => {
  if (seconds === null) return "–";
  const ms = seconds * 1000;
  return ms < 1000 ? `${ms.toPrecision(ms < 100 ? 2 : 3)} ms` : `${seconds.toFixed(1)} s`;
};

const known = (count, words) => (count === null ? "not known" : words(count));

const entries = (count) => `${count.toLocaleString()}, with sessions and locks`;

function bytes(count) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(Math.floor(Math.log2(Math.max(count, 1)) / 10), units.length - 1);
  return `${(count / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

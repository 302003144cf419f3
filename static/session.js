/** The section “This browser”: a counter that the service keeps for this browser alone. */

import { ask, get } from "./api.js";
import { byId, setText } from "./dom.js";
import { format } from "./json.js";
import { attempt } from "./messages.js";
import { Poll } from "./poll.js";

const NAME = "clicks";
const COUNTER = `v1/session/counters/${NAME}`;
// Another tab of this browser may have counted.
const EVERY = 2000;

let changes = 0;
// One after the other: a browser that has no cookie yet would get one for each of several.
let last = Promise.resolve();

export const poll = new Poll("session", refresh, EVERY);

/** Let the buttons of the section work. */
export function connect() {
  byId("clicks-inc").addEventListener("click", () => change("POST", { delta: 1 }));
  byId("clicks-dec").addEventListener("click", () => change("POST", { delta: -1 }));
  byId("clicks-reset").addEventListener("click", () => change("PUT", { value: 0 }));
}

async function refresh() {
  const before = changes;
  const { body } = await get("v1/session");
  if (before === changes) show(body.counters[NAME] ?? 0);
}

function change(method, body) {
  last = last.then(() => send(method, body));
}

async function send(method, body) {
  changes += 1;
  await attempt(async () => show((await ask(method, COUNTER, { body })).body.value));
  changes += 1;
}

const show = (number) => setText(byId("clicks"), format(number));

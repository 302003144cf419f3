/** The section “Race”: 100 requests at once, at three ways to count. */

import { get } from "./api.js";
import { byId, plural, setText } from "./dom.js";
import { Lane } from "./lane.js";
import { attempt, clear } from "./messages.js";

const lanes = [...document.querySelectorAll(".way")].map((card) => new Lane(card));
const buttons = [...document.querySelectorAll("#race button")];
const NO_OVERLAP =
  "It serves one request after the other, so no race can show a failure here. " +
  "Start it with --workers 2 to see one.";
let isRunning = false;

/** Let the buttons of the section work, where the service has it. */
export function connect() {
  if (!lanes.length) return;
  for (const lane of lanes) lane.onStart(() => hold([lane]));
  byId("race-all").addEventListener("click", () => hold(lanes));
}

/** Say what kind of server this is, before anybody takes a race for a proof. */
export async function introduce() {
  if (lanes.length) await attempt(async () => describe(await server()));
}

async function hold(chosen) {
  if (isRunning) return;
  busy(true);
  clear();
  await attempt(async () => {
    const { overlap } = describe(await server());
    const race = name();
    for (const lane of chosen) await lane.run(race, overlap);
  });
  busy(false);
}

const server = async () => (await get("demo")).body;

function describe(server) {
  const { workers, threads, overlap } = server;
  const size = workers && `${plural(workers, "worker")} × ${plural(threads, "thread")}`;
  const has = size ? `This server has ${size}.` : "";
  setText(byId("race-server"), overlap ? has : `${has} ${NO_OVERLAP}`);
  byId("race").dataset.overlap = overlap;
  return server;
}

/** A name that no other race has; randomUUID is missing where a page comes without TLS. */
const name = () =>
  [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("-");

/** A button that has the focus keeps it while it cannot be used. */
function busy(now) {
  isRunning = now;
  for (const button of buttons) button.ariaDisabled = now ? "true" : null;
}

/** The banner at the top, while something that the page needs does not work. */

import { byId, element } from "./dom.js";
import { say } from "./messages.js";

const place = byId("banner");
const troubles = new Map();
let since = "";

/** Something named `name` failed with this problem. */
export function report(name, problem) {
  if (problem.status === 401) return;
  if (!troubles.size) since = new Date().toLocaleTimeString();
  troubles.set(name, problem.message);
  show();
}

/** It works again, or is not asked for any more. */
export function clear(name) {
  if (!troubles.delete(name)) return;
  show();
  if (!troubles.size) say("Everything works again.");
}

function show() {
  const [trouble] = troubles.values();
  if (place.dataset.trouble === trouble) return;
  if (trouble === undefined) delete place.dataset.trouble;
  else place.dataset.trouble = trouble;
  place.replaceChildren(...(trouble === undefined ? [] : words(trouble)));
}

const words = (trouble) => [
  element("strong", {}, `${trouble}.`),
  element("span", {}, ` You see what was known at ${since}. The page tries again by itself.`),
];

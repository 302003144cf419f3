/** What an action came to, said once, at the bottom of the page. */

import { byId, element } from "./dom.js";

const place = byId("message");

/**
 * Say something; it stays until the next message or until it is closed.
 *
 * @param {{label: string, run: () => void}} [action] what can be done about it
 */
export function say(text, action) {
  const close = element("button", { type: "button", className: "quiet", ariaLabel: "Close this message", onclick: clear }, "×");
  place.replaceChildren(element("p", {}, text), ...button(action), close);
}

function button(action) {
  if (!action) return [];
  const run = () => {
    clear();
    action.run();
  };
  return [element("button", { type: "button", onclick: run }, action.label)];
}

function clear() {
  place.replaceChildren();
}

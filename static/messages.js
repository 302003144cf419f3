/** What an action came to, said once, at the bottom of the page. */

import { Problem } from "./api.js";
import { byId, element } from "./dom.js";

const place = byId("message");

/**
 * Say something; it stays until the next message or until it is closed.
 *
 * @param {{label: string, run: () => void}} [action] what can be done about it
 */
export function say(text, action) {
  const close = button("×", clear);
  Object.assign(close, { className: "quiet", ariaLabel: "Close this message" });
  const remedy = action && button(action.label, () => (clear(), action.run()));
  place.replaceChildren(element("p", {}, text), ...(remedy ? [remedy] : []), close);
}

/** Do something, and say what went wrong. */
export async function attempt(action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // With 401 the page asks for a token.
    if (error.status !== 401) say(error.sentence);
  }
}

const button = (label, onclick) => element("button", { type: "button", onclick }, label);

function clear() {
  place.replaceChildren();
}

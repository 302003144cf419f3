/** What an action came to, said once, at the bottom of the page. */

import { Problem } from "./api.js";
import { byId, element } from "./dom.js";

const SHOWN = 6000;
// Long enough to read it, and to reach its button.
const SHOWN_WITH_ACTION = 15_000;

const place = byId("message");
let timer;

/**
 * Say something. It goes after some seconds, with the next message, or when it is closed.
 *
 * @param {{label: string, run: () => void}} [action] what can be done about it
 */
export function say(text, action) {
  show("note", text, action);
  goAfter(action ? SHOWN_WITH_ACTION : SHOWN);
}

/** Do something, and say what went wrong; that stays until it is closed or something else is done. */
export async function attempt(action) {
  if (place.dataset.kind === "error") clear();
  try {
    await action();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // With 401 the page asks for a token.
    if (error.status !== 401) show("error", error.sentence);
  }
}

/** Take away what an earlier action came to. */
export function clear() {
  clearTimeout(timer);
  place.replaceChildren();
  delete place.dataset.kind;
}

function show(kind, text, action) {
  clear();
  const close = button("×", clear);
  Object.assign(close, { className: "quiet", ariaLabel: "Close this message" });
  const remedy = action && button(action.label, () => (clear(), action.run()));
  place.replaceChildren(element("p", {}, text), ...(remedy ? [remedy] : []), close);
  place.dataset.kind = kind;
}

/** Nothing goes while somebody points at it or has the focus in it. */
function goAfter(time) {
  timer = setTimeout(() => {
    if (place.matches(":hover, :focus-within")) goAfter(time);
    else clear();
  }, time);
}

const button = (label, onclick) => element("button", { type: "button", onclick }, label);

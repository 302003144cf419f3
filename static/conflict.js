/** The part of the editor that shows what somebody else has made of the value meanwhile. */

import { byId, element } from "./dom.js";
import { format } from "./json.js";

const place = byId("conflict");

/**
 * Show what the key holds now.
 *
 * @param mine what is being edited, as it was read
 * @param theirs what is there; its etag is null if nothing is
 * @param {{take, replace}} choices edit theirs instead, or put mine in its place
 */
export function show(mine, theirs, { take, replace }) {
  const isGone = theirs.etag === null;
  const content = [element("p", {}, element("strong", {}, title(mine, isGone)))];
  if (!isGone) content.push(element("p", {}, "It holds now:"), code(theirs.value));
  const buttons = [button(isGone ? "Store mine all the same" : "Replace it by mine", replace)];
  if (!isGone) buttons.unshift(button("Edit that one", take));
  place.replaceChildren(...content, element("div", { className: "row" }, ...buttons));
  place.scrollIntoView({ block: "nearest" });
}

export function hide() {
  place.replaceChildren();
}

function title(mine, isGone) {
  if (mine.key === null) return "This key is there already. Nothing was saved.";
  const what = isGone ? "deleted it" : "changed it";
  return `Somebody else has ${what} meanwhile. Nothing was saved.`;
}

const code = (value) => element("pre", { tabIndex: 0 }, format(value));

const button = (label, onclick) => element("button", { type: "button", onclick }, label);

/** The API token, where the service asks for one: kept for this tab, and no longer. */

import { byId, setText } from "./dom.js";

const NAME = "sharedstate-token";

const section = byId("token");
const form = section.querySelector("form");
const field = byId("token-field");
const forget = byId("forget-token");

let onOpen = () => {};
let onClose = () => {};

export const current = () => sessionStorage.getItem(NAME);

/** Call `open` once the page may ask the service, and `close` when it may not any more. */
export function guard(open, close) {
  [onOpen, onClose] = [open, close];
  form.addEventListener("submit", accept);
  forget.addEventListener("click", () => ask(""));
  if (section.dataset.needed === "yes" && !current()) ask("");
  else enter();
}

/** The service did not take this token, or wants one; another one may be in use meanwhile. */
export function refuse(used) {
  if (!section.hidden || used !== current()) return;
  ask(current() ? "The service did not accept this token." : "");
}

function ask(error) {
  sessionStorage.removeItem(NAME);
  onClose();
  section.hidden = false;
  showGuarded(false);
  forget.hidden = true;
  setText(byId("token-error"), error);
  field.value = "";
  field.focus();
}

function accept(event) {
  event.preventDefault();
  sessionStorage.setItem(NAME, field.value.trim());
  enter();
  byId("main").focus();
}

function enter() {
  section.hidden = true;
  showGuarded(true);
  forget.hidden = !current();
  onOpen();
}

/** What only makes sense to those who may ask the service. */
function showGuarded(shown) {
  for (const node of document.querySelectorAll("[data-guarded]")) node.hidden = !shown;
}

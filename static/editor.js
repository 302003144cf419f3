/** The dialog that creates and edits a value, and never writes over what it has not shown. */

import { deadline, remaining, store } from "./actions.js";
import { get, keyPath, Problem } from "./api.js";
import { byId, element, setText } from "./dom.js";
import { format, indent, mistake, parse } from "./json.js";
import { say } from "./messages.js";

const dialog = byId("editor");
const [key, value, ttl] = ["key", "value", "ttl"].map((name) => byId(`editor-${name}`));
const conflict = byId("conflict");

// What is being edited, as it was last seen: its etag is null if the key was not there.
let seen = null;
let saved = () => {};

/** Call `listener` with the key of each value that was saved. */
export function onSaved(listener) {
  saved = listener;
  dialog.querySelector("form").addEventListener("submit", save);
  byId("editor-cancel").addEventListener("click", () => dialog.close());
  value.addEventListener("input", () => complain(value, ""));
  value.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save(event);
  });
  ttl.addEventListener("input", () => complain(ttl, ""));
  dialog.addEventListener("close", () => (seen = null));
}

/** Ask for a new key and its value. */
export function create(name = "") {
  begin("New value", name, "", { key: null, etag: null, deadline: null });
  key.focus();
}

/** Edit what a key holds now. */
export async function open(name) {
  const found = await look(name);
  begin(`Edit “${name}”`, name, found.etag === null ? "" : indent(found.value), found);
  value.focus();
}

/** The list has seen this item: say so if it is being edited and is not what was read. */
export function noticed(item) {
  if (item.key !== seen?.key || item.etag === seen.etag || seen.isOutdated) return;
  seen.isOutdated = true;
  const mine = seen;
  look(item.key).then((theirs) => mine === seen && disagree(theirs), () => (mine.isOutdated = false));
}

function begin(title, name, text, item) {
  seen = { ...item, shownTime: seconds(item) };
  setText(byId("editor-title"), title);
  [key.value, value.value, ttl.value] = [name, text, seen.shownTime];
  key.readOnly = item.key !== null;
  for (const field of [key, value, ttl]) complain(field, "");
  conflict.replaceChildren();
  if (!dialog.open) dialog.showModal();
}

async function look(name) {
  try {
    const { body, etag } = await get(keyPath("values", name));
    return { key: name, etag, value: body.value, deadline: deadline(body.ttl) };
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 404) throw error;
    return { key: name, etag: null, deadline: null };
  }
}

const seconds = (item) => (item.deadline === null ? "" : String(Math.ceil(remaining(item.deadline))));

async function save(event) {
  event.preventDefault();
  const wrong = mistake(value.value);
  complain(value, wrong ?? "");
  const time = chosenTime();
  complain(ttl, time === null ? "How many seconds from now? Leave it empty for ever." : "");
  if (wrong !== null) value.focus();
  else if (time === null) ttl.focus();
  else if (dialog.querySelector("form").reportValidity()) await send(key.value, parse(value.value), time);
}

/** The `ttl` to send: what is left of it if the field was not touched, null if it makes no sense. */
function chosenTime() {
  if (!ttl.value.trim()) return 0;
  const isKept = ttl.value === seen.shownTime;
  const number = isKept ? remaining(seen.deadline) : Number(ttl.value);
  return number > 0 && Number.isFinite(number) ? number : null;
}

async function send(name, content, time) {
  try {
    await store(name, content, time, seen.etag);
    dialog.close();
    say(`Saved “${name}”.`);
    saved(name);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 412) await showOther(name);
    else complain(error.type.endsWith(":invalid-key") ? key : value, error.sentence);
  }
}

async function showOther(name) {
  try {
    disagree(await look(name));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    complain(value, error.sentence);
  }
}

/** Show what the key holds now beside what the editor has. */
function disagree(theirs) {
  if (!dialog.open) return;
  const what = theirs.etag === null ? "deleted it" : "changed it";
  const title = seen.key === null ? "This key is there already." : `Somebody else has ${what} meanwhile. Nothing was saved.`;
  conflict.replaceChildren(
    element("p", {}, element("strong", {}, title)),
    ...(theirs.etag === null ? [] : [element("p", {}, "It holds now:"), element("pre", { tabIndex: 0 }, format(theirs.value))]),
    element("div", { className: "row" }, ...choices(theirs)),
  );
}

const choices = (theirs) => [
  ...(theirs.etag === null ? [] : [choice("Edit that one", () => begin(`Edit “${theirs.key}”`, theirs.key, indent(theirs.value), theirs))]),
  choice("Replace it by mine", (event) => {
    seen = { ...seen, key: theirs.key, etag: theirs.etag };
    save(event);
  }),
];

const choice = (label, onclick) => element("button", { type: "button", onclick }, label);

function complain(field, text) {
  field.ariaInvalid = text ? "true" : null;
  setText(byId(`${field.id}-error`), text);
}

/** The dialog that creates and edits a value, and never writes over what it has not shown. */

import { deadline, remaining, store } from "./actions.js";
import { get, keyPath, Problem } from "./api.js";
import * as conflict from "./conflict.js";
import { byId, setText } from "./dom.js";
import { indent, mistake, parse } from "./json.js";
import { clear, say } from "./messages.js";
import { stop, watch } from "./watch.js";

const dialog = byId("editor");
const form = dialog.querySelector("form");
const [key, value, ttl] = ["key", "value", "ttl"].map((name) => byId(`editor-${name}`));

// What is being edited, as it was last seen: its etag is null if the key was not there.
let seen = null;
let saved = () => {};

/** Let the dialog work; `listener` is called with the key of each value that was saved. */
export function connect(listener) {
  saved = listener;
  form.addEventListener("submit", save);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save(event);
  });
  form.addEventListener("input", (event) => complain(event.target, ""));
  byId("editor-cancel").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    seen = null;
    stop();
  });
}

/** Ask for a new key and its value. */
export function create(name = "") {
  begin("New value", name, "", { key: null, etag: null, deadline: null });
  key.focus();
}

/** Edit what a key holds now. */
export async function open(name) {
  edit(await look(name));
}

/** This item is there now: say so if it is being edited and is not what was read. */
export async function noticed(item) {
  const mine = seen;
  if (item.key !== mine?.key || item.etag === mine.etag || mine.isNoticed) return;
  mine.isNoticed = true;
  await compare(item.key, mine);
}

function edit(item) {
  begin(`Edit “${item.key}”`, item.key, item.etag === null ? "" : indent(item.value), item);
  value.focus();
}

function begin(title, name, text, item) {
  clear();
  seen = { ...item, shownTime: seconds(item.deadline) };
  setText(byId("editor-title"), title);
  [key.value, value.value, ttl.value] = [name, text, seen.shownTime];
  key.readOnly = item.key !== null;
  for (const field of [key, value, ttl]) complain(field, "");
  conflict.hide();
  if (!dialog.open) dialog.showModal();
  if (item.etag === null) stop();
  else watch(seen, noticed);
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

const seconds = (end) => (end === null ? "" : String(Math.ceil(remaining(end))));

async function save(event) {
  event.preventDefault();
  clear();
  const wrong = mistake(value.value);
  const time = chosenTime();
  complain(value, wrong);
  complain(ttl, time === null ? "How many seconds from now? Leave it empty for ever." : "");
  if (wrong) value.focus();
  else if (time === null) ttl.focus();
  else if (form.reportValidity()) await send(key.value, parse(value.value), time);
}

/** The `ttl` to send: what is left of it if the field was not touched; null if it is wrong. */
function chosenTime() {
  if (!ttl.value.trim()) return 0;
  const isKept = ttl.value === seen.shownTime;
  const number = isKept ? remaining(seen.deadline) : Number(ttl.value);
  return number > 0 && Number.isFinite(number) ? number : null;
}

async function send(name, content, time) {
  const mine = seen;
  stop(); // What comes next is our own change.
  try {
    await store(name, content, time, mine.etag);
    dialog.close();
    say(`Saved “${name}”.`);
    saved(name);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 412) await compare(name, mine);
    else complain(error.type.endsWith(":invalid-key") ? key : value, error.sentence);
  }
}

/** Show what the key holds now, beside `mine`, which is being edited. */
async function compare(name, mine) {
  try {
    const theirs = await look(name);
    if (mine !== seen) return;
    clear();
    const replace = (event) => replaceBy(theirs.etag, event);
    conflict.show(mine, theirs, { take: () => edit(theirs), replace });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    complain(value, error.sentence);
  }
}

/** Save what is in the editor in the place of the value with this etag. */
function replaceBy(etag, event) {
  seen = { ...seen, etag };
  return save(event);
}

function complain(field, text) {
  field.ariaInvalid = text ? "true" : null;
  setText(byId(`${field.id}-error`), text);
}

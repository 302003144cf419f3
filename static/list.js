/** The section “Counters and values”: a live list with buttons to change what it shows. */

import { add, putBack, remove } from "./actions.js";
import { get, Problem } from "./api.js";
import { byId, plural, setText } from "./dom.js";
import * as editor from "./editor.js";
import { attempt, say } from "./messages.js";
import { Poll } from "./poll.js";
import { Row } from "./row.js";
import { Listing, Typed } from "./source.js";
import { counted, Totals } from "./totals.js";

const body = byId("items").tBodies[0];
const prefix = byId("prefix");
const rows = new Map();
let source = null;
let totals = null;
let shownItems = [];
let isFirst = true;
// Goes up with each change made here: what was asked before it is out of date.
let changes = 0;

// A little under a second, so that a change of another client is here within one.
const poll = new Poll("values", refresh, 900);
const totalsPoll = new Poll("totals", total, 5000);

export const polls = [poll, totalsPoll];

/** Let the buttons and fields of the section work. */
export function connect() {
  byId("filter").addEventListener("submit", look);
  prefix.addEventListener("input", filter);
  byId("create").addEventListener("click", () => editor.create(isListed() ? "" : prefix.value));
  byId("previous").addEventListener("click", () => turn(false));
  byId("next").addEventListener("click", () => turn(true));
  editor.connect((key) => {
    if (!isListed()) source.add(key);
    changed();
  });
  setInterval(tick, 250);
}

async function refresh() {
  source ??= await findSource();
  const [asked, before] = [source, changes];
  const items = await load(asked);
  if (asked !== source) return;
  if (before !== changes) asked.forget();
  else if (items !== null) show(items);
}

async function findSource() {
  const { body: store } = await get("v1/store");
  if (store.can.keys) return new Listing(prefix.value);
  byId("no-list").hidden = byId("look").hidden = false;
  setText(byId("prefix-label"), "Key");
  return new Typed();
}

/** The items, none of a prefix that no key can have. */
async function load(asked) {
  try {
    return await asked.load();
  } catch (error) {
    const isRefused = error instanceof Problem && error.status === 400;
    if (!isRefused || error.type === "urn:sharedstate:not-serializable") throw error;
    return [];
  }
}

/** Count what is on all pages, if there are several. */
async function total() {
  if (!isListed() || isOnePage()) return;
  if (totals?.prefix !== source.prefix) totals = new Totals(source.prefix);
  await totals.load();
  showState();
}

function show(items) {
  const shown = new Set(items.map((item) => item.key));
  const focused = [...body.children].findIndex((node) => node.contains(document.activeElement));
  for (const row of [...rows.values()]) if (!shown.has(row.key)) drop(row);
  for (const item of items) place(item);
  arrange([...shown].sort());
  if (focused >= 0 && document.activeElement === document.body) focusNear(focused);
  isFirst = false;
  shownItems = items;
  showState();
  if (!isOnePage() && totals?.prefix !== source.prefix) totalsPoll.soon();
}

/** The row that had the focus is gone: go on at the one in its place. */
function focusNear(position) {
  const node = body.children[position] ?? body.lastElementChild;
  (node?.querySelector("button:not([hidden])") ?? byId("create")).focus();
}

function place(item) {
  const row = rows.get(item.key);
  if (row) {
    row.show(item, true);
  } else {
    rows.set(item.key, new Row(item, actions));
    if (!isFirst) rows.get(item.key).mark();
  }
  editor.noticed(item);
}

function drop(row) {
  row.node.remove();
  rows.delete(row.key);
  editor.noticed({ key: row.key, etag: null });
}

/** Bring the rows into this order; one that is in its place is not touched, nor is its focus. */
function arrange(keys) {
  keys.forEach((key, i) => {
    const { node } = rows.get(key);
    if (body.children[i] !== node) body.insertBefore(node, body.children[i] ?? null);
  });
}

function showState() {
  const count = rows.size;
  const isFiltered = isListed() && prefix.value;
  const none = source.hasNext
    ? "None found so far. The next page goes on."
    : isFiltered
      ? `No key begins with “${prefix.value}”.`
      : "Nothing here yet.";
  setText(byId("items-state"), count ? sizes() : none);
  byId("items").hidden = !count;
  byId("pages").hidden = isOnePage();
  byId("previous").disabled = source.pageNumber === 1;
  byId("next").disabled = !source.hasNext;
  setText(byId("page-number"), `Page ${source.pageNumber}`);
}

/** How much there is, on this page and on all. */
function sizes() {
  if (isOnePage()) return counted(shownItems.filter((item) => !item.isMissing));
  const all = totals?.prefix === source.prefix && String(totals);
  return `${plural(rows.size, "key")} on this page${all ? `; in all ${all}` : ""}`;
}

const isOnePage = () => source.pageNumber === 1 && !source.hasNext;

function look(event) {
  event.preventDefault();
  if (!isListed() && prefix.value) act(() => source.add(prefix.value));
}

function filter() {
  if (!isListed()) return;
  source = new Listing(prefix.value);
  isFirst = true;
  poll.soon();
}

const isListed = () => source instanceof Listing;

function turn(forward) {
  source.turn(forward);
  isFirst = true;
  changed();
}

function changed() {
  changes += 1;
  source?.forget();
  poll.soon();
}

const actions = {
  add: (key, delta) =>
    act(async () => rows.get(key)?.count(await add(key, delta))),
  edit: (key) => act(() => editor.open(key)),
  remove: (key) =>
    act(async () => {
      const removed = await remove(key);
      if (removed === null) say(`Deleted “${key}”, which could not be read.`);
      else say(`Deleted “${key}”.`, { label: "Undo", run: () => act(() => undo(removed)) });
    }),
};

async function undo(removed) {
  try {
    await putBack(removed);
    say(`“${removed.key}” is back.`);
  } catch (error) {
    if (error.status !== 412) throw error;
    say(`“${removed.key}” was not put back: somebody has made it again meanwhile.`);
  }
}

/** Do something, and look at once what has come of it. */
async function act(action) {
  await attempt(action);
  changed();
}

function tick() {
  if (document.hidden) return;
  const ended = [...rows.values()].filter((row) => row.tick());
  if (ended.length) changed();
}

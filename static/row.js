/** A row of the list: one key, what it holds, how long, and the buttons to change it. */

import { deadline, remaining } from "./actions.js";
import { element, setText, unseen } from "./dom.js";
import { format, isInteger } from "./json.js";

const LONGEST_TEXT = 300;
const MARK = 1500;

export class Row {
  /** @param {{add, edit, remove}} actions called with the row's key */
  constructor(item, actions) {
    this.key = item.key;
    this.#build(actions);
    this.show(item);
  }

  #build({ add, edit, remove }) {
    const { key } = this;
    this.value = element("code");
    this.expires = cell("expires");
    this.less = button("−1", ` for ${key}`, () => add(key, -1));
    this.more = button("+1", ` for ${key}`, () => add(key, 1));
    this.edit = button("Edit", ` ${key}`, () => edit(key));
    this.remove = button("Delete", ` ${key}`, () => remove(key));
    const name = element("code", {}, element("bdi", {}, key));
    // The roles stay what they are where the style makes blocks of the table.
    this.node = element(
      "tr",
      { role: "row" },
      element("th", { role: "rowheader", scope: "row", className: "key" }, name),
      cell("value", this.value),
      this.expires,
      cell("change", this.less, this.more, this.edit, this.remove),
    );
  }

  /** Show what the key holds now; `isNews` marks a change for a moment. */
  show(item, isNews = false) {
    const { isMissing = false, problem, value } = item;
    this.isMissing = isMissing;
    this.deadline = isMissing ? null : deadline(item.ttl);
    const text = isMissing ? "nothing yet" : problem ? problem.title : shorten(format(value));
    if (isNews && text !== this.value.textContent) this.mark();
    setText(this.value, text);
    this.value.classList.toggle("missing", isMissing || Boolean(problem));
    this.edit.hidden = Boolean(problem);
    this.less.hidden = this.more.hidden = !isMissing && !isInteger(value);
    this.remove.hidden = isMissing;
    this.tick();
  }

  /** Show the number that an increment has returned, before the list is asked again. */
  count(number) {
    setText(this.value, format(number));
  }

  /** Count the remaining time down; returns whether it has just run out. */
  tick() {
    const seconds = this.deadline === null ? null : Math.ceil(remaining(this.deadline));
    const wasLive = this.expires.textContent !== "expired";
    setText(this.expires, this.isMissing ? "–" : countdown(seconds));
    return wasLive && seconds !== null && seconds <= 0;
  }

  /** Let the row be seen to have changed, for a moment. */
  mark() {
    clearTimeout(this.marked);
    this.node.classList.add("changed");
    this.marked = setTimeout(() => this.node.classList.remove("changed"), MARK);
  }
}

const cell = (name, ...children) => element("td", { role: "cell", className: name }, ...children);

const button = (label, rest, onclick) =>
  element("button", { type: "button", onclick }, label, unseen(rest));

function shorten(text) {
  if (text.length <= LONGEST_TEXT) return text;
  return `${text.slice(0, LONGEST_TEXT)} … (${text.length} characters)`;
}

/** Seconds as people read them: `9 s`, `2:05`, `1:00:00`, `3 days`. */
export function countdown(seconds) {
  if (seconds === null) return "never";
  if (seconds <= 0) return "expired";
  if (seconds < 60) return `${seconds} s`;
  if (seconds >= 2 * 86_400) return `${Math.floor(seconds / 86_400)} days`;
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
}

/** How many keys and counters there are, on all pages of the list together. */

import { get } from "./api.js";
import { plural } from "./dom.js";
import { isInteger } from "./json.js";

// The service lists no more at a time, and no more are counted.
const MOST = 1000;

export class Totals {
  #etag = null;
  #text = "";

  constructor(prefix) {
    this.prefix = prefix;
  }

  async load() {
    const query = new URLSearchParams({ prefix: this.prefix, limit: MOST });
    const { status, etag, body } = await get(`v1/values?${query}`, this.#etag);
    if (status === 304) return;
    this.#etag = etag;
    const { items, next } = body;
    // A page of large values ends early, at fewer keys.
    this.#text = next === null ? counted(items) : `more than ${plural(items.length, "key")}`;
  }

  toString() {
    return this.#text;
  }
}

/** `7 keys, 5 are counters` */
export function counted(items) {
  const counters = items.filter((item) => isInteger(item.value)).length;
  const are = counters === 1 ? "1 is a counter" : `${counters} are counters`;
  return `${plural(items.length, "key")}, ${are}`;
}

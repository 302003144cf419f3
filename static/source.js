/** Where the list's items come from: each source returns `{items, next}`, or null if unchanged. */

import { get, keyPath, Problem } from "./api.js";

const PAGE_SIZE = 25;
// How long to go on over pages without an item, in milliseconds.
const EMPTY_PAGES = 5000;

/** The keys that begin with a prefix, a page at a time. */
export class Listing {
  #cursors = [null];
  #etag = null;
  #next = null;

  constructor(prefix = "") {
    this.prefix = prefix;
  }

  async load() {
    const patience = performance.now() + EMPTY_PAGES;
    let [cursor] = this.#cursors.slice(-1);
    let response = await this.#ask(cursor, this.#etag);
    if (response.status === 304) return null;
    this.#etag = response.etag;
    // The service may stop looking for a while before it finds anything.
    while (!response.body.items.length && response.body.next !== null && performance.now() < patience) {
      this.#etag = null;
      cursor = response.body.next;
      response = await this.#ask(cursor);
    }
    this.#next = response.body.next;
    return response.body.items;
  }

  #ask(cursor, etag) {
    const query = new URLSearchParams({ prefix: this.prefix, limit: PAGE_SIZE });
    if (cursor !== null) query.set("cursor", cursor);
    return get(`v1/values?${query}`, etag);
  }

  /** Let the next load return the items, even if nothing has changed. */
  forget() {
    this.#etag = null;
  }

  get pageNumber() {
    return this.#cursors.length;
  }

  get hasNext() {
    return this.#next !== null;
  }

  turn(forward) {
    if (forward) this.#cursors.push(this.#next);
    else this.#cursors.pop();
    this.forget();
  }
}

/** Keys that people typed in, on a store that cannot list them. */
export class Typed {
  #items = new Map();

  pageNumber = 1;
  hasNext = false;

  add(key) {
    keyPath("values", key);
    this.#items.set(key, null);
  }

  async load() {
    const found = await Promise.all([...this.#items].map(([key, known]) => this.#look(key, known)));
    if (found.every((item) => item === null)) return null;
    return [...this.#items.values()].filter((item) => item !== null);
  }

  async #look(key, known) {
    try {
      const { status, etag, body } = await get(keyPath("values", key), known?.etag);
      if (status === 304) return null;
      this.#items.set(key, { ...body, etag });
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 404) throw error;
      this.#items.set(key, { key, etag: null, isMissing: true });
    }
    return this.#items.get(key);
  }

  forget() {
    for (const item of this.#items.values()) if (item) item.etag = null;
  }
}

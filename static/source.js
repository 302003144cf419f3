/** Where the list's items come from: each source answers `{items, next}`, or null if unchanged. */

import { get, keyPath, Problem } from "./api.js";

const PAGE_SIZE = 25;

/** The keys that begin with a prefix, a page at a time. */
export class Listing {
  #cursors = [null];
  #etag = null;
  #next = null;

  constructor(prefix = "") {
    this.prefix = prefix;
  }

  async load() {
    const [cursor] = this.#cursors.slice(-1);
    const query = new URLSearchParams({ prefix: this.prefix, limit: PAGE_SIZE });
    if (cursor !== null) query.set("cursor", cursor);
    const { status, etag, body } = await get(`v1/values?${query}`, this.#etag);
    if (status === 304) return null;
    this.#etag = etag;
    this.#next = body.next;
    return body.items;
  }

  /** Let the next load answer, even if nothing has changed. */
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

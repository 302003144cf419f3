/** Asks the service again and again: never in a hidden tab, less often while it fails. */

import { Problem } from "./api.js";
import * as banner from "./banner.js";

const LONGEST = 5000;

export class Poll {
  #timer;
  #on = false;
  #busy = false;
  #again = false;
  #failures = 0;

  /** @param {number} every milliseconds from one response to the next request */
  constructor(name, work, every) {
    Object.assign(this, { name, work, every });
    document.addEventListener("visibilitychange", () => this.soon());
  }

  start() {
    this.#on = true;
    this.soon();
  }

  stop() {
    this.#on = false;
    clearTimeout(this.#timer);
    banner.clear(this.name);
  }

  /** Ask now, or as soon as the request that is under way has its response. */
  soon() {
    if (this.#busy) this.#again = true;
    else this.#poll();
  }

  async #poll() {
    clearTimeout(this.#timer);
    if (!this.#on || document.hidden) return;
    [this.#busy, this.#again] = [true, false];
    try {
      await this.#attempt();
    } finally {
      this.#busy = false;
      this.#timer = setTimeout(() => this.#poll(), this.#again ? 0 : this.#pause());
    }
  }

  async #attempt() {
    try {
      await this.work();
      this.#failures = 0;
      banner.clear(this.name);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#failures += 1;
      if (this.#on) banner.report(this.name, error);
    }
  }

  #pause() {
    return Math.min(this.every * 2 ** this.#failures, Math.max(LONGEST, this.every));
  }
}

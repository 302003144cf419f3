/** One way to count in the race: its requests, its grid of numbers and what they mean. */

import { ask, Problem } from "./api.js";
import { element, setText } from "./dom.js";
import { judge, verdict } from "./judge.js";

export const CLIENTS = 100;
export const ROUNDS = 20;

export class Lane {
  #card;
  #cells = [];
  #numbers = [];
  #processes = [];
  #failed = [];

  constructor(card) {
    this.way = card.id;
    this.#card = card;
    this.#reset();
  }

  onStart(listener) {
    this.#part(".start").addEventListener("click", listener);
  }

  /**
   * Send all requests at once, and show what comes back; again, while it is right and may be wrong.
   *
   * @param {string} race the name of the race
   * @param {boolean} overlap whether the server works on several requests at a time
   */
  async run(race, overlap) {
    for (let round = 1; ; round += 1) {
      const { result, found } = await this.#play(`${race}-${round}`, overlap, round);
      if (found.mayFail || round > 1) this.#showRound(round);
      if (!found.mayFail || round === ROUNDS) return this.#finish(result, found);
    }
  }

  #showRound(round) {
    setText(this.#part(".rounds"), `Round ${round} of at most ${ROUNDS}`);
  }

  async #play(race, overlap, rounds) {
    this.#reset(rounds);
    await Promise.all(Array.from({ length: CLIENTS }, () => this.#count(race)));
    const result = judge(this.#numbers, CLIENTS);
    const [processes, failed] = [this.#processes, this.#failed];
    const found = verdict(result, { way: this.way, overlap, processes, failed, rounds });
    return { result, found };
  }

  async #count(race) {
    try {
      const { body } = await ask("POST", `demo/${this.way}`, { body: { race } });
      this.#numbers.push(body.value);
      this.#processes.push(body.worker);
      this.#mark(body.value);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#failed.push(error.sentence);
    }
  }

  #mark(number) {
    const cell = this.#cells[number - 1];
    if (!cell) return;
    const times = this.#numbers.filter((other) => other === number).length;
    cell.className = times > 1 ? "cell twice" : "cell once";
    if (times > 1) cell.dataset.times = `×${times}`;
  }

  #reset(round = 1) {
    [this.#numbers, this.#processes, this.#failed] = [[], [], []];
    this.#cells = Array.from({ length: CLIENTS }, (_, i) => cell(i + 1));
    this.#part(".grid").replaceChildren(...this.#cells);
    this.#part(".grid").ariaLabel = "No race yet";
    this.#part("details").hidden = true;
    if (round === 1) setText(this.#part(".rounds"), "");
    setText(this.#part(".verdict"), "");
    delete this.#card.dataset.mood;
  }

  #finish(result, { mood, text }) {
    for (const number of result.never) this.#cells[number - 1].className = "cell never";
    this.#card.dataset.mood = mood;
    this.#part(".grid").ariaLabel = summary(result);
    setText(this.#part(".verdict"), text);
    setText(this.#part(".numbers"), this.#numbers.join(" "));
    this.#part("details").hidden = false;
  }

  #part(selector) {
    return this.#card.querySelector(selector);
  }
}

const cell = (number) => element("span", { className: "cell" }, String(number));

const list = (numbers) => numbers.join(", ") || "none";

function summary({ different, twice, never }) {
  const repeats = `Given to several: ${list(twice)}. Given to nobody: ${list(never)}.`;
  return `${different} different numbers. ${repeats}`;
}

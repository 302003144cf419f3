/** What the numbers of a race mean. Nothing here touches the page or the service. */

/**
 * Whether clients that asked for the next number at once got 1, 2, 3, … each.
 *
 * @param {number[]} numbers as they came back
 * @param {number} clients how many asked
 */
export function judge(numbers, clients) {
  const times = new Array(clients + 1).fill(0);
  for (const number of numbers) times[number] = (times[number] ?? 0) + 1;
  const all = Array.from({ length: clients }, (_, i) => i + 1);
  return {
    clients,
    times,
    answered: numbers.length,
    different: new Set(numbers).size,
    twice: all.filter((number) => times[number] > 1),
    never: all.filter((number) => !times[number]),
    get isExact() {
      return this.answered === clients && this.twice.length === 0 && this.never.length === 0;
    },
  };
}

/**
 * A sentence on what happened, and whether it is `good`, `bad` or proves nothing (`open`).
 *
 * @param {{way: string, overlap: boolean, processes: number[], failed: string[]}} race `overlap`:
 *     whether the server works on several requests at a time; `processes`: who answered each
 */
export function verdict(result, race) {
  if (race.failed.length) return { mood: "bad", text: failure(result, race.failed) };
  if (!result.isExact) return { mood: "bad", text: `${difference(result)} ${reason(race)}`.trim() };
  const all = `All ${result.clients} got a number of their own, 1 to ${result.clients}.`;
  if (!race.overlap && new Set(race.processes).size < 2) {
    return { mood: "open", text: `${all} That proves nothing: one worker with one thread answers one request after the other, so no way to count can fail here.` };
  }
  if (race.way === "counter") return { mood: "good", text: `${all} Nothing twice, nothing left out.` };
  return { mood: "open", text: `${all} That was luck, not a promise. ${luck(race)}` };
}

const failure = (result, failed) =>
  `${failed.length} of ${result.clients} requests were not answered with a number: ${failed[0]}`;

function difference({ clients, different, twice, never }) {
  const many = (list) => (list.length === 1 ? `the number ${list[0]}` : `${list.length} numbers`);
  return `${clients} requests got only ${different} different numbers: ${many(twice)} went to several of them, ${many(never)} to nobody.`;
}

function reason({ way, processes }) {
  const counts = [...new Set(processes)].map((pid) => [pid, processes.filter((other) => other === pid).length]);
  const shares = counts.map(([pid, count]) => `process ${pid} answered ${count}`).join(", ");
  if (way === "get-then-set") return "Some read the same number before either of them had written.";
  if (way === "global-variable" && counts.length > 1) return `Each process counted for itself: ${shares}.`;
  if (way === "counter") return "This store is in the memory of each process; choose another one for several workers.";
  return "";
}

function luck({ way, processes }) {
  const isOne = new Set(processes).size === 1;
  if (way === "global-variable" && isOne) return `All connections of this browser lead to process ${processes[0]}, which counts for itself.`;
  return "Send them again.";
}

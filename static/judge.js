/** What the numbers of a race mean. Nothing here touches the page or the service. */

/**
 * Which of the numbers 1, 2, 3, … came back once, several times and never.
 *
 * @param {number[]} numbers as they came back
 * @param {number} clients how many asked, at once, for the next number
 */
export function judge(numbers, clients) {
  const times = (number) => numbers.filter((other) => other === number).length;
  const all = Array.from({ length: clients }, (_, i) => i + 1);
  const twice = all.filter((number) => times(number) > 1);
  const never = all.filter((number) => times(number) === 0);
  return {
    clients,
    different: new Set(numbers).size,
    twice,
    never,
    isExact: numbers.length === clients && !twice.length && !never.length,
  };
}

/**
 * What happened, in words, and whether it is `good`, `bad` or proves nothing (`open`).
 *
 * @param {{way: string, overlap: boolean, processes: number[], failed: string[], rounds: number}}
 *     race `overlap`: whether the server works on several requests at a time; `processes`: who
 *     served each; `rounds`: how often all were sent until now
 * @returns {{mood: string, text: string, mayFail?: boolean}} `mayFail`: when they are sent again
 */
export function verdict(result, race) {
  const { clients } = result;
  const { failed } = race;
  if (failed.length) return bad(`${failed.length} of ${clients} requests failed: ${failed[0]}`);
  if (!result.isExact) return bad(`${difference(result)} ${reason(race)}`);
  const all = `All ${clients} got a number of their own, 1 to ${clients}.`;
  if (!race.overlap && shares(race.processes).length < 2) return open(`${all} ${NO_PROOF}`);
  if (race.way !== "counter") return { ...open(`${all} ${notRuledOut(race)}`), mayFail: true };
  return { mood: "good", text: `${all} Nothing twice, nothing left out.` };
}

const bad = (text) => ({ mood: "bad", text: text.trim() });
const open = (text) => ({ mood: "open", text });

const NO_PROOF =
  "That proves nothing: one worker with one thread serves one request after the other, " +
  "so no way to count can fail here.";

function difference({ clients, different, twice, never }) {
  const many = (list) => (list.length === 1 ? `the number ${list[0]}` : `${list.length} numbers`);
  const who = `${many(twice)} went to several of them, ${many(never)} to nobody`;
  return `${clients} requests got only ${different} different numbers: ${who}.`;
}

function reason({ way, processes }) {
  if (way === "get-then-set") return "Some read the same number before either of them had written.";
  const served = shares(processes);
  if (served.length < 2) return "";
  const who = served.map(([pid, count]) => `process ${pid} served ${count}`).join(", ");
  const remedy = "This store is in the memory of a process; several workers need another one.";
  return `Each process counted for itself: ${who}. ${way === "counter" ? remedy : ""}`;
}

function notRuledOut({ way, processes, rounds }) {
  const seen = rounds > 1 ? `No wrong number in ${rounds} rounds, and` : "But";
  const isAlone = way === "global-variable" && shares(processes).length === 1;
  const why = `All connections of this browser led to process ${processes[0]}.`;
  return `${seen} nothing rules one out.${isAlone ? ` ${why}` : ""}`;
}

/** How many each process served. */
function shares(processes) {
  const counts = new Map();
  for (const pid of processes) counts.set(pid, (counts.get(pid) ?? 0) + 1);
  return [...counts];
}

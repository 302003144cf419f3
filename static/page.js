/** The page: starts its sections once the service may be asked. */

import * as list from "./list.js";
import * as now from "./now.js";
import * as race from "./race.js";
import * as session from "./session.js";
import { guard } from "./token.js";

const polls = [...now.polls, ...list.polls, session.poll];

function open() {
  for (const poll of polls) poll.start();
  race.introduce();
}

function close() {
  for (const poll of polls) poll.stop();
}

for (const section of [list, race, session]) section.connect();
guard(open, close);

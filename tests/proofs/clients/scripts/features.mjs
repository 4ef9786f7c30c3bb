// What a script tells the proof: a line of JSON for each feature that it tried, and what went wrong if it did not work.

import { readFileSync } from "node:fs";

export const told = JSON.parse(readFileSync(new URL("told.json", import.meta.url)));

const features = [];

/** Try this function under that name. It throws if the feature does not do what it promises. */
export function feature(name, run) {
  features.push([name, run]);
}

export async function runAll() {
  const only = (process.env.ONLY_FEATURES ?? "").split(" ").filter(Boolean);
  for (const [name, run] of features) {
    if (only.length && !only.includes(name)) continue;
    let fault = null;
    try {
      await run();
    } catch (failure) {
      console.error(failure);
      fault = `${failure.name}: ${failure.message}`.split("\n")[0].slice(0, 300);
    }
    console.log(JSON.stringify({ feature: name, fault }));
  }
}

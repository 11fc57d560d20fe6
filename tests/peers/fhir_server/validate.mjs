// @medplum/core's R4 validator (structure, cardinality, types and FHIRPath invariants): one resource as JSON on
// each line of standard input, the list of its issues as JSON on one line of standard output.

import { createInterface } from "node:readline";

import { core, readResources } from "./definitions.mjs";

readResources();

function issues(resource) {
  try {
    return core.validateResource(resource);
  } catch (error) {
    if (error?.outcome) return error.outcome.issue;
    throw error;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const found = issues(JSON.parse(line)).map((issue) => ({
    severity: issue.severity,
    text: issue.details?.text ?? issue.diagnostics ?? "",
    where: (issue.expression ?? []).join(", "),
  }));
  process.stdout.write(`${JSON.stringify(found)}\n`);
}

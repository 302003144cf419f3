/** Requests to the service this page comes from. */

import { format, parse } from "./json.js";
import * as token from "./token.js";

// The page may be below a path of its own.
const ROOT = new URL("../", import.meta.url);
const PATIENCE = 10_000;
// In seconds, and less than the patience.
const WAIT = 8;
const NO_RESPONSE = {
  title: "The service does not respond",
  detail: "The service does not respond. A change may or may not have been made.",
};

/** A response that is an error, as a problem document (RFC 9457) tells it; status 0: none came. */
export class Problem extends Error {
  constructor(status, { title = "The service failed", detail = "", type = "" } = {}) {
    super(title);
    this.status = status;
    this.detail = detail;
    this.type = type;
  }

  /** What to tell people about it. */
  get sentence() {
    return this.detail || `${this.message}.`;
  }
}

/**
 * One request, sent once.
 *
 * @returns {Promise<{status: number, etag?: string, body?: any, hasWaited?: boolean}>} without a body if it is 304
 * @throws {Problem}
 */
export async function ask(method, path, { body, headers = {}, signal } = {}) {
  const used = token.current();
  const { response, text } = await send(method, path, body, headers, signal);
  if (response.status === 304) {
    return { status: 304, hasWaited: response.headers.has("Preference-Applied") };
  }
  if (response.status === 401) token.refuse(used);
  const isJSON = response.headers.get("Content-Type")?.includes("json");
  const content = isJSON && text ? parse(text) : text;
  if (!response.ok) throw new Problem(response.status, isJSON ? content : undefined);
  return { status: response.status, etag: response.headers.get("ETag"), body: content };
}

/** What a path holds; with the ETag of what is known already, status 304 if that is still true. */
export const get = (path, etag) =>
  ask("GET", path, { headers: etag ? { "If-None-Match": etag } : {} });

/** Like `get`, once the path holds something else, or after some seconds; until `signal` aborts. */
export const getChanged = (path, etag, signal) =>
  ask("GET", path, { headers: { "If-None-Match": etag, Prefer: `wait=${WAIT}` }, signal });

/** The path of a key below `v1/values` or `v1/counters`. */
export function keyPath(collection, key) {
  if (key === "." || key === "..") {
    // A browser takes these for steps in the path, however they are written.
    throw new Problem(400, { title: `A browser cannot ask for the key “${key}”` });
  }
  return `v1/${collection}/${encodeURIComponent(key)}`;
}

async function send(method, path, body, headers, signal) {
  const all = new Headers(headers);
  if (body !== undefined) all.set("Content-Type", "application/json");
  if (token.current()) all.set("Authorization", `Bearer ${token.current()}`);
  try {
    const response = await fetch(new URL(path, ROOT), {
      method,
      headers: all,
      body: body === undefined ? undefined : format(body),
      cache: "no-store",
      signal: AbortSignal.any([AbortSignal.timeout(PATIENCE), ...(signal ? [signal] : [])]),
    });
    return { response, text: await response.text() };
  } catch {
    throw new Problem(0, NO_RESPONSE);
  }
}

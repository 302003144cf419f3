/** What can be done to a key. */

import { ask, get, keyPath, Problem } from "./api.js";

const ATTEMPTS = 5;

/** When something that has `ttl` seconds left now will be gone, by this page's clock. */
export const deadline = (ttl) => (ttl === null ? null : performance.now() + ttl * 1000);

/** Seconds until a deadline. */
export const remaining = (end) => (end - performance.now()) / 1000;

/** Add to a counter; returns the new number. */
export async function add(key, delta) {
  const { body } = await ask("POST", keyPath("counters", key), { body: { delta } });
  return body.value;
}

/**
 * Delete a key, with exactly the value that is returned, so that it can be put back.
 *
 * @returns {Promise<{key: string, value: any, deadline: number|null}|null>} null if the value
 *   cannot be read, and so not be put back
 */
export async function remove(key) {
  const path = keyPath("values", key);
  for (let attempt = 1; ; attempt += 1) {
    const { body, etag } = await readable(path);
    if (body === undefined) {
      await ask("DELETE", path);
      return null;
    }
    try {
      await ask("DELETE", path, { headers: { "If-Match": etag } });
      return { key, value: body.value, deadline: deadline(body.ttl) };
    } catch (error) {
      // It has changed between the two requests.
      if (!(error instanceof Problem) || error.status !== 412 || attempt === ATTEMPTS) throw error;
    }
  }
}

/** What a path holds, or nothing if that cannot be read. */
async function readable(path) {
  try {
    return await get(path);
  } catch (error) {
    if (error.type !== "urn:sharedstate:not-serializable") throw error;
    return {};
  }
}

/**
 * Store a value, if the key still holds what the caller has seen.
 *
 * @param {string|null} etag of what was seen; null if the key was not there
 */
export function store(key, value, ttl, etag) {
  const headers = etag === null ? { "If-None-Match": "*" } : { "If-Match": etag };
  return ask("PUT", keyPath("values", key), { body: { value, ttl }, headers });
}

/** Undo {@link remove}, unless somebody has made the key again. */
export function putBack({ key, value, deadline: end }) {
  // In the service's words, 0 is for ever.
  const ttl = end === null ? 0 : Math.max(remaining(end), 0.001);
  return store(key, value, ttl, null);
}

/** Tells at once when a value changes, as long as this page can be seen. */

import { getChanged, keyPath, Problem } from "./api.js";

let watching = new AbortController();

/** Call `listener` with the item of a key once it has another ETag than this; null: it is gone. */
export function watch({ key, etag }, listener) {
  stop();
  watching = new AbortController();
  document.addEventListener("visibilitychange", look, { signal: watching.signal });
  let request = new AbortController();
  look();

  function look() {
    request.abort();
    if (document.hidden) return;
    request = new AbortController();
    wait(key, etag, AbortSignal.any([request.signal, watching.signal]), listener);
  }
}

/** Watch nothing any more. */
export const stop = () => watching.abort();

/** A server on which no request can wait responds at once; then the listing shows the change. */
async function wait(key, etag, signal, listener) {
  try {
    while (!signal.aborted) {
      const { status, hasWaited, etag: present } = await getChanged(path(key), etag, signal);
      if (status !== 304 && !signal.aborted) return await listener({ key, etag: present });
      if (!hasWaited) return;
    }
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 404 && !signal.aborted) await listener({ key, etag: null });
  }
}

const path = (key) => keyPath("values", key);

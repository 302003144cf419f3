/**
 * JSON that comes out as it went in.
 *
 * A number that JavaScript would change (a counter past 2**53, 1.0, 1e400) is kept as it was
 * written, where the browser can: Chrome 114, Firefox 135, Safari 18.4 and later.
 */

export function parse(text) {
  return JSON.parse(text, (_, value, context) => {
    const source = context?.source;
    const changed = typeof value === "number" && source !== undefined && String(value) !== source;
    return changed && JSON.rawJSON ? JSON.rawJSON(source) : value;
  });
}

export const format = (value) => JSON.stringify(value);

/** The same over several lines, for people to edit. */
export const indent = (value) => JSON.stringify(value, null, 2);

/** Whether a counter could hold it. */
export function isInteger(value) {
  const isNumber = typeof value === "number" || JSON.isRawJSON?.(value);
  return Boolean(isNumber) && /^-?\d+$/.test(format(value));
}

/** What is wrong with a text that is not JSON; an empty text if nothing is. */
export function mistake(text) {
  if (!text.trim()) return "A value is missing. No value at all is written null.";
  try {
    JSON.parse(text);
    return "";
  } catch (error) {
    const bare = text.trim();
    const hint = /^\p{L}/u.test(bare) ? ` Text needs double quotes: ${format(bare)}` : "";
    return `This is not JSON: ${error.message}.${hint}`;
  }
}

/** The document: nothing here makes HTML out of text. */

export const byId = (id) => document.getElementById(id);

/** A new element with these properties and children; a child that is text stays text. */
export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** Words that only screen readers say. */
export const unseen = (text) => element("span", { className: "hidden" }, text);

/** `1 key`, `2 keys` */
export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** Change the text of an element, if it is another one: nothing is announced twice. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

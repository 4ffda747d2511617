// Sets maths where text is marked as possibly having some: `.math-text`, now and when it is added later.
//
// KaTeX is loaded when the first formula is met, so a page without any loads nothing. What it cannot read
// stays as it was written, in red. It is not trusted with links or pictures, and may neither grow nor
// expand beyond limits.

import { mayHaveMaths, split } from "./math_split.js";

const OPTIONS = {
  throwOnError: false,
  trust: false,
  strict: "ignore",
  maxExpand: 500,
  maxSize: 20,
  errorColor: "#b3261e",
};

let loading = null;

/** KaTeX, from the folder that this file came from. */
export function katex() {
  loading ??= new Promise((done, failed) => {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = new URL("katex/katex.min.css", import.meta.url).href;
    const script = document.createElement("script");
    script.src = new URL("katex/katex.min.js", import.meta.url).href;
    script.addEventListener("load", () => done(globalThis.katex));
    script.addEventListener("error", () => failed(new Error("KaTeX could not be loaded")));
    document.head.append(style, script);
  });
  return loading;
}

/** A formula as an element; while KaTeX loads, and where it cannot, it is its source. */
export function formula(tex, display, source) {
  const element = document.createElement("span");
  element.className = "math";
  element.textContent = source;
  katex().then(
    (engine) => engine.render(tex, element, { ...OPTIONS, displayMode: display }),
    () => {},
  ).catch(() => {
    element.textContent = source;
  });
  return element;
}

/** Sets the maths in an element's text; what is code or set already is left alone. */
export function typeset(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (mayHaveMaths(node.data) && !node.parentElement.closest("code, pre, textarea, .math")) texts.push(node);
  }
  for (const node of texts) {
    const pieces = split(node.data).map((piece) =>
      piece.tex === undefined ? piece.text : formula(piece.tex, piece.display, piece.source));
    node.replaceWith(...pieces);
  }
}

function typesetBelow(root) {
  if (root.matches?.(".math-text")) typeset(root);
  for (const element of root.querySelectorAll?.(".math-text") ?? []) typeset(element);
}

if (globalThis.document) {
  typesetBelow(document.body);
  new MutationObserver((changes) => {
    for (const change of changes) {
      for (const node of change.addedNodes) {
        if (node.nodeType === Node.ELEMENT_NODE && !node.closest(".math")) typesetBelow(node);
      }
    }
  }).observe(document.body, { childList: true, subtree: true });
}

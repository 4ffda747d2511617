// The little of Markdown that models write, with maths in it: read into plain objects, shown as nodes.
//
// Safe by construction: text only ever becomes text nodes; links and pictures are not made at all.

import { mathsAt, split } from "./math_split.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const BULLET = /^( {0,7})([-*+]|\d{1,9}[.)])\s+(.*)$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;

/** A text's blocks: `{kind, source, …}` with kind paragraph, heading, code, list or rule. */
export function blocks(text) {
  const lines = text.split("\n");
  const found = [];
  let paragraph = [];
  const flush = () => {
    if (paragraph.length) found.push({ kind: "paragraph", text: paragraph.join("\n"), source: paragraph.join("\n") });
    paragraph = [];
  };
  for (let at = 0; at < lines.length; ) {
    const line = lines[at];
    const from = at;
    const source = () => lines.slice(from, at).join("\n");
    const fence = FENCE.exec(line);
    const heading = HEADING.exec(line);
    if (fence) {
      flush();
      const body = [];
      at += 1;
      while (at < lines.length && !lines[at].trimStart().startsWith(fence[1])) body.push(lines[at++]);
      at += 1;
      found.push({ kind: "code", language: fence[2], text: body.join("\n"), source: source() });
    } else if (heading) {
      flush();
      at += 1;
      found.push({ kind: "heading", level: heading[1].length, text: heading[2], source: line });
    } else if (RULE.test(line)) {
      flush();
      at += 1;
      found.push({ kind: "rule", source: line });
    } else if (BULLET.test(line)) {
      flush();
      const items = [];
      let ordered = null;
      while (at < lines.length) {
        const bullet = BULLET.exec(lines[at]);
        const numbered = bullet && /\d/.test(bullet[2]);
        if (bullet && !RULE.test(lines[at]) && (ordered === null || ordered === numbered)) {
          ordered = numbered;
          items.push({ text: bullet[3], depth: Math.min(Math.floor(bullet[1].length / 2), 3), number: parseInt(bullet[2], 10) });
        } else if (items.length && /^\s+\S/.test(lines[at]) && !bullet) {
          items.at(-1).text += `\n${lines[at].trim()}`;
        } else if (!lines[at].trim() && continues(lines, at, ordered)) {
          // An empty line between two points of the same list.
        } else break;
        at += 1;
      }
      found.push({ kind: "list", ordered, items, source: source() });
    } else if (!line.trim()) {
      flush();
      at += 1;
    } else {
      // A displayed formula may hold empty lines and lines that look like lists.
      const rest = lines.slice(at).join("\n");
      const begins = /^\s*(\$\$|\\\[|\\begin\{)/.exec(rest);
      const maths = begins && mathsAt(rest, rest.length - rest.trimStart().length);
      const taken = maths ? rest.slice(0, maths.end).split("\n").length : 1;
      paragraph.push(...lines.slice(at, at + taken));
      at += taken;
    }
  }
  flush();
  return found;
}

function continues(lines, at, ordered) {
  const next = BULLET.exec(lines[at + 1] ?? "");
  return next !== null && /\d/.test(next[2]) === ordered;
}

/** A line's pieces: `{text}`, `{code}`, `{tex, display, source}`, `{strong: […]}`, `{em: […]}`. */
export function inline(text) {
  const tokens = [];
  let rest = 0;
  // Code first: dollars and stars in it are no marks.
  for (const code of text.matchAll(/(`+)([^`](?:[\s\S]*?[^`])?)\1(?!`)/g)) {
    tokens.push(...marks(text.slice(rest, code.index)));
    tokens.push({ code: code[2].trim() || code[2] });
    rest = code.index + code[0].length;
  }
  tokens.push(...marks(text.slice(rest)));
  return paired(paired(tokens, "**", "strong"), "*", "em");
}

/** Text with its maths, and stars where they may be marks. */
function marks(text) {
  return split(text).flatMap((piece) => {
    if (piece.tex !== undefined) return [piece];
    const tokens = [];
    let rest = 0;
    for (const star of piece.text.matchAll(/\*{1,2}/g)) {
      const before = piece.text[star.index - 1] ?? "";
      const after = piece.text[star.index + star[0].length] ?? "";
      const opens = !/\s/.test(after) && (star[0].length === 2 || !/[\w)]/.test(before));
      const closes = !/\s/.test(before) && (star[0].length === 2 || !/\w/.test(after));
      tokens.push({ text: piece.text.slice(rest, star.index) }, { mark: star[0], opens, closes });
      rest = star.index + star[0].length;
    }
    tokens.push({ text: piece.text.slice(rest) });
    return tokens.filter((token) => token.text !== "");
  });
}

/** Puts what stands between two marks into one piece; a mark without its other half is text. */
function paired(tokens, mark, kind) {
  const out = [];
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at];
    if (token[kind === "em" ? "strong" : "em"]) {
      const inner = kind === "em" ? "strong" : "em";
      out.push({ [inner]: paired(token[inner], mark, kind) });
    } else if (token.mark !== mark) {
      out.push(token);
    } else {
      const close = token.opens
        ? tokens.findIndex((other, index) => index > at + 1 && other.mark === mark && other.closes)
        : -1;
      if (close < 0) {
        out.push({ text: mark });
      } else {
        out.push({ [kind]: tokens.slice(at + 1, close) });
        at = close;
      }
    }
  }
  return out;
}

/**
 * Shows a text that grows in an element. Blocks that did not change keep their nodes, so that what was set
 * is not set again with every token.
 */
export class Shown {
  constructor(element, formula) {
    this.element = element;
    this.formula = formula;
    this.sources = [];
  }

  update(text) {
    const all = blocks(text);
    let same = 0;
    while (same < all.length && same < this.sources.length && all[same].source === this.sources[same]) same += 1;
    while (this.element.childNodes.length > same) this.element.lastChild.remove();
    for (const block of all.slice(same)) this.element.append(this.block(block));
    this.sources = all.map((block) => block.source);
  }

  block(block) {
    if (block.kind === "code") {
      const pre = make("pre");
      pre.tabIndex = 0;
      pre.append(make("code", block.text));
      return pre;
    }
    if (block.kind === "rule") return make("hr");
    if (block.kind === "list") {
      const list = make(block.ordered ? "ol" : "ul");
      if (block.ordered && block.items[0].number !== 1) list.start = block.items[0].number;
      for (const item of block.items) {
        const line = this.line("li", item.text);
        if (item.depth) line.className = `depth-${item.depth}`;
        list.append(line);
      }
      return list;
    }
    // A reply's headings are no headings of the page.
    const paragraph = this.line("p", block.text);
    if (block.kind === "heading") paragraph.className = "heading";
    return paragraph;
  }

  line(name, text) {
    const element = make(name);
    element.append(...inline(text).map((piece) => this.piece(piece)));
    return element;
  }

  piece(piece) {
    if (piece.tex !== undefined) return this.formula(piece.tex, piece.display, piece.source);
    if (piece.code !== undefined) return make("code", piece.code);
    for (const kind of ["strong", "em"]) {
      if (piece[kind]) {
        const element = make(kind);
        element.append(...piece[kind].map((inner) => this.piece(inner)));
        return element;
      }
    }
    return document.createTextNode(piece.text ?? piece.mark);
  }
}

function make(name, text) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  return element;
}

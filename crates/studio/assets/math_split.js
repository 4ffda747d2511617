// Where maths stands in a text.
//
// $$…$$, \[…\] and \begin{align}…\end{align} are displayed, $…$ and \(…\) stand in the line; all else is
// text. Dollars are mostly money in word problems, so a pair of single dollars is maths only if
//   * nothing blank stands inside next to the dollars, or what is inside can only be TeX,
//   * the very next dollar closes it, no digit follows that, and no empty line is between,
//   * what is inside is no amount followed by words ("$5 for 2 apples, so 10$").
// The first two are Pandoc's rule. A dollar behind a backslash is a dollar.

/** Longer formulas than this are left as text, in characters. */
const LONGEST = 4000;

const ENVIRONMENTS = /^\\begin\{((?:align|alignat|aligned|array|cases|equation|gather|gathered|matrix|bmatrix|pmatrix|vmatrix|split)\*?)\}/;

/**
 * Cuts a text into pieces: `{text}`, or `{tex, display, source}` with the delimiters in `source` only.
 * All sources and texts in order are the input, but for the backslash before a dollar.
 */
export function split(text) {
  const pieces = [];
  let plain = "";
  const add = (tex, display, source) => {
    if (plain) pieces.push({ text: plain });
    plain = "";
    pieces.push({ tex, display, source });
  };
  let at = 0;
  while (at < text.length) {
    const found = mathsAt(text, at);
    if (found) {
      add(found.tex, found.display, text.slice(at, found.end));
      at = found.end;
    } else if (text[at] === "\\" && at + 1 < text.length) {
      plain += text[at + 1] === "$" ? "$" : text.slice(at, at + 2);
      at += 2;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  if (plain) pieces.push({ text: plain });
  return pieces;
}

/** Whether there may be maths in a text: a cheap look before anything is loaded for it. */
export function mayHaveMaths(text) {
  return /\$|\\[([]|\\begin\{/.test(text);
}

/** The formula that begins at a place: its TeX, whether it is displayed, where it ends. */
export function mathsAt(text, at) {
  if (text[at] === "\\") {
    if (text[at + 1] === "(") return until(text, at + 2, "\\)", false);
    if (text[at + 1] === "[") return until(text, at + 2, "\\]", true);
    const begun = ENVIRONMENTS.exec(text.slice(at, at + 32));
    if (!begun) return null;
    const end = `\\end{${begun[1]}}`;
    const found = until(text, at + begun[0].length, end, true);
    return found && { ...found, tex: text.slice(at, found.end) };
  }
  if (text[at] !== "$") return null;
  if (text[at + 1] === "$") return until(text, at + 2, "$$", true);
  const close = nextDollar(text, at + 1);
  if (close < 0) return null;
  const tex = text.slice(at + 1, close);
  return isMaths(tex, text[close + 1] ?? "") ? { tex, display: false, end: close + 1 } : null;
}

function until(text, from, end, display) {
  let close = from - 1;
  do {
    close = text.indexOf(end, close + 1);
    // The end may not itself stand behind a backslash: \\) is a line's end and a bracket.
  } while (close > 0 && end[0] === "\\" && behindBackslash(text, close));
  if (close < 0 || close - from > LONGEST) return null;
  const tex = text.slice(from, close);
  return tex.trim() ? { tex, display, end: close + end.length } : null;
}

/** The next dollar that is not behind a backslash; -1 where an empty line or too much text comes first. */
function nextDollar(text, from) {
  for (let at = from; at < text.length && at - from <= LONGEST; at += 1) {
    if (text[at] === "$" && !behindBackslash(text, at)) return at;
    if (text[at] === "\n" && /^\n[ \t]*\n/.test(text.slice(at, at + 80))) return -1;
  }
  return -1;
}

function behindBackslash(text, at) {
  let before = 0;
  while (text[at - 1 - before] === "\\") before += 1;
  return before % 2 === 1;
}

function isMaths(tex, next) {
  if (!tex.trim() || /\d/.test(next)) return false;
  const words = /(?<!\\)\b[A-Za-z]{2,}/.test(tex);
  const commands = /\\[A-Za-z]|[\^_]/.test(tex);
  if (/^\s|\s$/.test(tex)) return commands || (!words && /[=<>+*/]/.test(tex));
  return commands || !(words && /^[\d.,]+/.test(tex));
}

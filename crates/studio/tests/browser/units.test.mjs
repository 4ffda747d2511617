// The scripts' parts that need no page: where maths stands, events of a stream, Markdown, commands.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { split } from "../../assets/math_split.js";
import { blocks, inline } from "../../assets/markdown.js";
import { events } from "../../assets/sse.js";
import { curl, requestBody } from "../../assets/chat_request.js";

const formulas = (text) => split(text).filter((piece) => piece.tex !== undefined).map((piece) => piece.tex);

test("amounts of money are text", () => {
  for (const text of [
    "$5 and $7",
    "Tickets are $5, drinks $7.",
    "It was $5(now $3).",
    "from $5-$10",
    "$1,200.50 in May and $900 in June",
    "I paid $5 for 2 apples and got 3$.",
    "$2.50/lb or 5 lb for 12$",
    "US$5 or US$7",
    "She has $ 5 and he has $ 7.",
    "a lone $ sign",
    "\\$5 and x\\$",
    "cost: $20\n\nprofit: 5$",
    "",
    "$",
    "$$",
    "$$$$",
  ]) assert.deepEqual(formulas(text), [], text);
});

test("a dollar behind a backslash is a dollar", () => {
  assert.deepEqual(split("\\$5 and \\alpha"), [{ text: "$5 and \\alpha" }]);
});

test("maths between any of the delimiters is found", () => {
  for (const [text, found] of [
    ["let $x$ be", ["x"]],
    ["$x=1$ and $y=2$.", ["x=1", "y=2"]],
    ["so $5$ is", ["5"]],
    ["$ \\frac{1}{2} $", [" \\frac{1}{2} "]],
    ["$ x = 5 $", [" x = 5 "]],
    ["costs $5 and $x$ more", ["x"]],
    ["$5 \\text{ apples and pears}$", ["5 \\text{ apples and pears}"]],
    ["\\(a\\) or \\[b\n=c\\]", ["a", "b\n=c"]],
    ["$$\nx\n$$", ["\nx\n"]],
    ["\\[a \\\\[2pt] b\\]", ["a \\\\[2pt] b"]],
    ["$a\\$b$", ["a\\$b"]],
    ["\\begin{align*}a&=b\\end{align*}", ["\\begin{align*}a&=b\\end{align*}"]],
    ["open $x and \\(y", []],
  ]) assert.deepEqual(formulas(text), found, text);
});

test("pieces in order are the text", () => {
  // The same pseudo-random texts each time.
  let seed = 1;
  const next = (n) => (seed = (seed * 48271) % 2147483647) % n;
  const atoms = ["$", "$$", "\\(", "\\)", "\\[", "\\]", "\\\\", "x", " ", "5", "\n", "\n\n", "and", "\\frac", "{", "}", "*", "`"];
  for (let round = 0; round < 3000; round += 1) {
    const text = Array.from({ length: next(14) }, () => atoms[next(atoms.length)]).join("");
    const back = split(text).map((piece) => piece.source ?? piece.text).join("");
    assert.equal(back.replaceAll("\\$", "$"), text.replaceAll("\\$", "$"), text);
    blocks(text);
    inline(text);
  }
});

test("long texts without an end take no time to look through", () => {
  for (const text of ["$".repeat(20000), "\\(".repeat(20000), "$x ".repeat(20000), "*a ".repeat(5000), "`".repeat(5000)]) {
    split(text.slice(0, 20000));
    inline(text.slice(0, 5000));
  }
});

async function read(...chunks) {
  const encoder = new TextEncoder();
  const bytes = chunks.map((chunk) => (typeof chunk === "string" ? encoder.encode(chunk) : chunk));
  const found = [];
  for await (const data of events((async function* () { yield* bytes; })())) found.push(data);
  return found;
}

test("events are read however they are cut", async () => {
  const stream = 'data: {"a":"ü"}\r\n\r\n: waiting\n\nevent: x\r\ndata:two\r\ndata: lines\r\n\r\ndata: [DONE]\n\ndata: cut';
  const whole = ['{"a":"ü"}', "two\nlines", "[DONE]"];
  assert.deepEqual(await read(stream), whole);
  const bytes = new TextEncoder().encode(stream);
  for (const size of [1, 2, 3, 7]) {
    const chunks = [];
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.slice(at, at + size));
    assert.deepEqual(await read(...chunks), whole, `chunks of ${size}`);
  }
});

test("a line without end stops the reading", async () => {
  await assert.rejects(read("data: " + "x".repeat(9 << 20)), /without end/);
});

test("blocks of a reply are found", () => {
  const kinds = (text) => blocks(text).map((block) => block.kind).join(" ");
  for (const [text, found] of [
    ["one\ntwo\n\nthree", "paragraph paragraph"],
    ["# Title\ntext\n- a\n- b\n\n1. c\n2. d", "heading paragraph list list"],
    ["```python\nx = '$5$'\n\n# no heading\n```\nend", "code paragraph"],
    ["```\nnot closed", "code"],
    ["text\n$$\na\n\n- b\n$$\nmore", "paragraph"],
    ["---", "rule"],
    ["2. b\n\n3. c", "list"],
  ]) assert.equal(kinds(text), found, text);
  assert.deepEqual(blocks("2. b\n   more\n\n3. c")[0].items.map((item) => [item.number, item.text]), [[2, "b\nmore"], [3, "c"]]);
});

test("stars are marks only around text, and code is never maths", () => {
  assert.deepEqual(inline("**a $x$** and 2*3*4"), [
    { strong: [{ text: "a " }, { tex: "x", display: false, source: "$x$" }] },
    { text: " and 2" }, { text: "*" }, { text: "3" }, { text: "*" }, { text: "4" },
  ]);
  assert.deepEqual(inline("`$x$ **b**`"), [{ code: "$x$ **b**" }]);
  assert.deepEqual(inline("2*3* 4").map((piece) => piece.text).join(""), "2*3* 4");
  assert.deepEqual(inline("an *em* word"), [{ text: "an " }, { em: [{ text: "em" }] }, { text: " word" }]);
});

const hostile = "it's $HOME `id` \\ \"q\" <script> \n\u00fc $(id)";

test("a command gives the shell the very body", () => {
  const settings = { temperature: "0.2", stop: "a\n\nb", system: hostile, seed: "7", max_tokens: "", schema: "" };
  const turns = [{ role: "user", text: hostile, images: [{ data: "data:image/png;base64,AAAA" }] }];
  const body = requestBody("m'1", turns, settings);
  const { command, file } = curl("http://127.0.0.1:1/v1/chat/completions", body, true);
  assert.equal(file, null);
  assert.match(command, /\$MATH_LLAVA_KEY/);
  // The shell itself says what curl would be given.
  const script = `curl() { for a in "$@"; do printf '%s\\0' "$a"; done; }\nMATH_LLAVA_KEY=k\n${command}`;
  const given = execFileSync("sh", ["-c", script]).toString().split("\0");
  assert.ok(given.includes("Authorization: Bearer k"));
  assert.deepEqual(JSON.parse(given[given.indexOf("--data-binary") + 1]), body);
});

test("a body too long for a command goes into a file", () => {
  const body = requestBody("m", [{ role: "user", text: "x".repeat(200_000), images: [] }], {});
  const { command, file } = curl("http://h/v1/chat/completions", body, false);
  assert.match(command, /--data-binary @request\.json/);
  assert.deepEqual(JSON.parse(file), body);
  assert.ok(command.length < 400);
});

test("settings that are empty are not sent, and those that cannot be meant are named", () => {
  assert.deepEqual(requestBody("m", [{ role: "user", text: "hi", images: [] }], { temperature: " ", system: "" }), {
    model: "m", messages: [{ role: "user", content: "hi" }], stream: true, stream_options: { include_usage: true },
  });
  const schema = requestBody("m", [], { schema: '{"type":"object"}' });
  assert.deepEqual(schema.response_format.json_schema.schema, { type: "object" });
  for (const [name, value] of [["temperature", "warm"], ["max_tokens", "1.5"], ["schema", "{"], ["seed", "x"], ["stop", "a\nb\nc\nd\ne"]]) {
    assert.throws(() => requestBody("m", [], { [name]: value }), { field: name }, name);
  }
});

// The chat, with whatever model the server has: a reply streams in, can be stopped, asked for again, handed out.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { deflateSync, crc32 } from "node:zlib";

import { VIEWS, go, launch, open, picture, sound } from "./setup.mjs";

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

/** A small grey image as PNG. */
function png(width = 96, height = 64) {
  const part = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const framed = Buffer.alloc(8 + body.length);
    framed.writeUInt32BE(data.length, 0);
    body.copy(framed, 4);
    framed.writeUInt32BE(crc32(body), 4 + body.length);
    return framed;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 8;
  const rows = Buffer.alloc((width + 1) * height, 160);
  for (let y = 0; y < height; y += 1) rows[y * (width + 1)] = 0;
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), part("IHDR", header), part("IDAT", deflateSync(rows)), part("IEND", Buffer.alloc(0))]);
}

const file = (name) => ({ name, mimeType: "image/png", buffer: png() });

async function chat(options) {
  const opened = await open(browser, options);
  await go(opened.page, "/chat");
  await opened.page.locator("#models input").first().waitFor();
  return opened;
}

const ended = (page) => page.waitForFunction(() => document.querySelectorAll('.reply-card:not([data-state="done"]):not([data-state="failed"]):not([data-state="stopped"])').length === 0
  && document.querySelector(".reply-card"));

async function ask(page, text) {
  await page.locator("#question").fill(text);
  await page.keyboard.press("Control+Enter");
  await page.locator(".reply-card").first().waitFor();
}

for (const view of VIEWS) {
  test(`a question with an image is answered, ${view.name}`, async () => {
    const { page, faults, close } = await chat({ view });
    await sound(page, faults, "the empty chat");
    await page.locator("#files").setInputFiles([file("a.png"), file("b.png")]);
    await page.getByRole("button", { name: "Remove a.png" }).click();
    assert.equal(await page.locator("#attachments img").count(), 1);
    await page.locator("[name=max_tokens]").evaluate((box) => { box.value = "80"; });
    await ask(page, "What is $\\frac{1}{2}$ of $5, and of $7?");
    await ended(page);
    assert.equal(await page.locator(".reply-card").first().getAttribute("data-state"), "done");
    assert.equal(await page.locator(".asked-images img").count(), 1);
    assert.ok(await page.locator(".asked-text .katex").count() === 1, "the question's maths is set, the amount is not");
    assert.match(await page.locator(".figures").first().innerText(), /first token .*tokens after/);
    assert.ok((await page.locator("#live").innerText()).length > 0, "screen readers are told the reply");
    await sound(page, faults, "the answered chat");
    await picture(page, `chat-${view.name}`);
    await close();
  });
}

test("a reply can be stopped, and asked for again", async (context) => {
  const { page, faults, close } = await chat();
  if (!await page.locator('#models input[value="scripted"]').count()) {
    await close();
    return context.skip("only a model that follows a script surely goes on for long");
  }
  await ask(page, `Go on for long: ${"one two three ".repeat(400)}`);
  await page.getByRole("button", { name: "Stop" }).click();
  await page.locator('.reply-card[data-state="stopped"]').waitFor();
  await page.locator("[name=max_tokens]").fill("3");
  await page.getByRole("button", { name: /^Regenerate/ }).click();
  await page.locator('.reply-card[data-state="done"]').waitFor();
  assert.match(await page.locator(".figures").innerText(), /\b3 tokens after/);
  assert.deepEqual(faults, []);
  await close();
});

test("a question can be edited, and the conversation kept as JSON", async () => {
  const { page, faults, close } = await chat();
  await page.locator("[name=max_tokens]").fill("8");
  await ask(page, "first");
  await ended(page);
  await ask(page, "second");
  await ended(page);
  const waiting = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export" }).click();
  const kept = JSON.parse(readFileSync(await (await waiting).path(), "utf8"));
  assert.deepEqual(kept.turns.map((turn) => turn.question.text), ["first", "second"]);
  assert.ok(kept.turns[1].replies[0].usage.prompt_tokens > kept.turns[0].replies[0].usage.prompt_tokens, "the second question has the first before it");
  await page.getByRole("button", { name: "Edit this question" }).first().click();
  assert.equal(await page.locator(".turn").count(), 0);
  assert.equal(await page.locator("#question").inputValue(), "first");
  assert.deepEqual(faults, []);
  await close();
});

test("several models answer side by side", async (context) => {
  const { page, faults, close } = await chat();
  const boxes = page.locator("#models input");
  const models = await boxes.count();
  if (models < 2) {
    await close();
    return context.skip("the server has one model");
  }
  for (let at = 0; at < models; at += 1) await boxes.nth(at).check();
  await ask(page, "the same question");
  await ended(page);
  assert.equal(await page.locator('.reply-card[data-state="done"]').count(), models);
  const tops = await page.locator(".reply-card").evaluateAll((cards) => cards.map((card) => card.getBoundingClientRect().top));
  assert.equal(new Set(tops.slice(0, 2)).size, 1, "the first two stand beside each other");
  assert.deepEqual(faults, []);
  await picture(page, "chat-several");
  await close();
});

test("what the server refuses is shown in its words, and settings that cannot be meant before it is asked", async () => {
  const { page, faults, close } = await chat({ allow: [400] });
  await page.locator("[name=temperature]").fill("warm");
  await page.locator("#question").fill("hello");
  await page.keyboard.press("Control+Enter");
  assert.match(await page.locator("#status").innerText(), /temperature/);
  assert.equal(await page.evaluate(() => document.activeElement.name), "temperature");
  assert.equal(await page.locator(".turn").count(), 0);
  await page.locator("[name=temperature]").fill("");
  // More words than any model here has room for.
  await ask(page, "word ".repeat(20_000));
  await page.locator('.reply-card[data-state="failed"] .error').waitFor();
  assert.ok((await page.locator(".reply-card .error").innerText()).length > 10);
  await sound(page, faults, "a refused question");
  await picture(page, "chat-refused");
  await close();
});

test("the command that is copied gives the same answer", async () => {
  const { page, faults, close } = await chat();
  await page.locator("#files").setInputFiles([file("a.png")]);
  await page.locator("[name=max_tokens]").fill("12");
  await page.locator("[name=temperature]").fill("0");
  await ask(page, "it's $HOME, `id` and \"quotes\"\nüber");
  await ended(page);
  await page.getByRole("button", { name: /^Copy text/ }).click();
  const reply = await page.evaluate(() => navigator.clipboard.readText());
  await page.getByRole("button", { name: /^Copy as curl/ }).click();
  await sound(page, faults, "the command");
  await picture(page, "chat-command");
  const command = await page.locator("#command-text").inputValue();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), command);
  const lines = execFileSync("sh", ["-c", command], { stdio: ["ignore", "pipe", "ignore"] }).toString();
  const text = lines.split("\n").filter((line) => line.startsWith("data: {"))
    .map((line) => JSON.parse(line.slice(6)).choices[0]?.delta?.content ?? "").join("");
  assert.equal(text, reply);
  await page.keyboard.press("Escape");
  await close();
});

test("images come by pasting and by dropping, and what is none is named", async () => {
  const { page, faults, close } = await chat();
  const give = (kind) => page.evaluate(async ([kind, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], `${kind}.png`, { type: "image/png" }));
    const options = { bubbles: true, cancelable: true };
    document.querySelector("#question").dispatchEvent(kind === "paste"
      ? new ClipboardEvent("paste", { ...options, clipboardData: data })
      : new DragEvent("drop", { ...options, dataTransfer: data }));
  }, [kind, [...png()]]);
  await give("paste");
  await give("drop");
  await page.waitForFunction(() => document.querySelectorAll("#attachments img").length === 2);
  await page.locator("#files").setInputFiles([{ name: "no.png", mimeType: "image/png", buffer: Buffer.from("text") }]);
  await page.waitForFunction(() => document.querySelector("#status").textContent.includes("no.png"));
  assert.equal(await page.locator("#attachments img").count(), 2);
  assert.deepEqual(faults, []);
  await close();
});

test("an image beyond the limits is drawn smaller, and only then", async () => {
  const { page, close } = await chat();
  const sides = async () => page.locator("#attachments img").last().evaluate(async (img) => {
    await img.decode();
    return [img.naturalWidth, img.naturalHeight];
  });
  await page.locator("#files").setInputFiles([{ name: "long.png", mimeType: "image/png", buffer: png(20000, 16) }]);
  await page.locator("#attachments img").waitFor();
  assert.deepEqual(await sides(), [16384, 13]);
  await page.locator("#files").setInputFiles([{ name: "small.png", mimeType: "image/png", buffer: png(300, 16) }]);
  await page.waitForFunction(() => document.querySelectorAll("#attachments img").length === 2);
  assert.deepEqual(await sides(), [300, 16]);
  await close();
});

test("the whole chat is worked by keyboard", async () => {
  const { page, faults, close } = await chat();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.name), "model");
  const seen = [];
  for (let step = 0; step < 30 && !seen.includes("question"); step += 1) {
    await page.keyboard.press("Tab");
    seen.push(await page.evaluate(() => document.activeElement.id || document.activeElement.name));
    const visible = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement);
      return style.outlineStyle !== "none" || document.activeElement.closest(".choose") !== null;
    });
    assert.ok(visible, `${seen.at(-1)} shows that it has the focus`);
  }
  assert.ok(seen.includes("question"), seen.join(" "));
  await page.keyboard.type("typed");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "send");
  await page.keyboard.press("Enter");
  await ended(page);
  assert.deepEqual(faults, []);
  await close();
});

test("what is said never becomes markup, and maths may not link or load", async () => {
  // A small model may have no room for it: the question is shown all the same.
  const { page, faults, close } = await chat({ allow: [400] });
  await ask(page, [
    "<img src=x onerror=alert(1)> <script>alert(2)</script> [a](javascript:alert(3))",
    "$\\href{javascript:alert(4)}{x}$ \\(\\includegraphics{/health}\\) $\\htmlStyle{position:fixed}{y}$",
    `$\\def\\a{\\a\\a}\\a$ $\\rule{9999em}{9999em}$ $${"{".repeat(500)}$`,
  ].join("\n\n"));
  await ended(page);
  await page.locator(".asked-text .katex, .asked-text .katex-error").first().waitFor();
  const bad = await page.evaluate(() => {
    const said = [...document.querySelectorAll(".asked-text, .reply-text")];
    return said.flatMap((box) => [...box.querySelectorAll("img, script, a, iframe, [onerror], [style*=fixed]")].map((node) => node.outerHTML));
  });
  assert.deepEqual(bad, []);
  const widest = await page.evaluate(() => Math.max(...[...document.querySelectorAll(".asked-text *, .reply-text *")].map((node) => node.getBoundingClientRect().height)));
  assert.ok(widest < 4000, `${widest} pixels high`);
  assert.deepEqual(faults, []);
  await close();
});

test("a server that wants a key is given it, and it is kept nowhere", async () => {
  const { page, faults, close } = await open(browser, { allow: [401] });
  const wanted = "secret-of-the-test";
  await page.route("**/v1/**", (route) => {
    const given = route.request().headers().authorization;
    if (given === `Bearer ${wanted}`) return route.continue();
    return route.fulfill({ status: 401, contentType: "application/json", body: JSON.stringify({ error: { message: "a key is wanted" } }) });
  });
  await go(page, "/chat");
  await page.locator("#key").fill(wanted);
  await page.keyboard.press("Tab");
  await page.locator("#models input").first().waitFor();
  await page.locator("[name=max_tokens]").fill("5");
  await ask(page, "hello");
  await ended(page);
  assert.equal(await page.locator(".reply-card").getAttribute("data-state"), "done");
  await page.getByRole("button", { name: /^Copy as curl/ }).click();
  const command = await page.locator("#command-text").inputValue();
  assert.ok(command.includes("$MATH_LLAVA_KEY") && !command.includes(wanted));
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
  assert.ok(!kept.includes(wanted));
  assert.deepEqual(faults, []);
  await close();
});

// The data pages as someone uses them: filters, the list that goes on, a sample with its image, SQL.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { VIEWS, address, go, launch, open, picture } from "./setup.mjs";

let browser;
let run;
before(async () => {
  browser = await launch();
  const { page, close } = await open(browser);
  await go(page, "/runs");
  const all = await page.locator("main a[href^='/runs/']").evaluateAll((links) => links.map((link) => new URL(link.href).pathname));
  run = all.find((path) => /^\/runs\/[^/]+$/.test(path)).split("/")[2];
  await close();
});
after(() => browser.close());

/** A number with separators, as the page shows it. */
const number = (text) => Number(text.replaceAll(",", ""));
const found = async (page) => number((await page.locator("#found strong").innerText()).trim());

/** The list of the run, when the table has been read. */
async function list(options, query = "") {
  const opened = await open(browser, options);
  await go(opened.page, `/data/${run}${query}`);
  await opened.page.locator("#found").waitFor({ timeout: 60_000 });
  return opened;
}

test("a filter leaves as many rows as it said, and taking it away brings them back", async () => {
  const { page, faults, close } = await list();
  const all = await found(page);
  const first = page.locator(".facet li").first();
  const says = number(await first.locator(".n").innerText());
  await first.locator("input").check();
  await page.waitForURL(/[?&]\w+=/);
  await page.waitForFunction((n) => document.querySelector("#found strong")?.textContent?.replaceAll(",", "") === String(n), says);
  await picture(page, "data-filtered");
  await page.locator(".chip").first().click();
  await page.waitForFunction((n) => document.querySelector("#found strong")?.textContent?.replaceAll(",", "") === String(n), all);
  assert.deepEqual(faults, []);
  await close();
});

test("text that is searched for is in every row that is found", async () => {
  const { page, faults, close } = await list();
  const word = (await page.locator(".rows .question").first().innerText()).match(/[A-Za-z]{4,}/)[0];
  const all = await found(page);
  await page.locator("#q").fill(word);
  await page.waitForURL(/[?&]q=/);
  await page.waitForFunction(() => document.querySelector(".chip"));
  const left = await found(page);
  assert.ok(left > 0 && left <= all);
  await page.locator("#q").fill("no question says this, surely");
  await page.waitForFunction(() => document.querySelector("#found strong")?.textContent === "0");
  assert.deepEqual(faults, []);
  await close();
});

test("the list goes on as one scrolls, each row once", async () => {
  const { page, faults, close } = await list();
  const all = await found(page);
  const rows = page.locator("#rows .row");
  const before = await rows.count();
  assert.ok(before <= 50, `${before} rows at first`);
  if (all > before) {
    await page.mouse.move(1000, 500);
    for (let step = 0; step < 40 && await rows.count() < Math.min(all, 160); step += 1) {
      await page.mouse.wheel(0, 4000);
      await page.waitForTimeout(100);
    }
    assert.ok(await rows.count() >= Math.min(all, 160), "more rows have come");
  }
  const names = await page.locator("#rows .question a").evaluateAll((links) => links.map((link) => link.pathname));
  assert.equal(new Set(names).size, names.length);
  assert.deepEqual(faults, []);
  await close();
});

test("without scripts the list and its filters work by links and a button", async () => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(new URL(`/data/${run}`, address).href);
  await page.locator(".facet input").first().check();
  await page.getByRole("button", { name: "Apply" }).click();
  assert.ok(await page.locator(".chip").count() > 0);
  const next = page.locator("a.next");
  if (await next.count()) {
    const first = await page.locator("#rows .question").first().innerText();
    const [link] = [await next.first().getAttribute("href")];
    await page.goto(new URL(link, address).href);
    assert.ok(await page.locator("#rows .row").count() > 0);
    assert.ok(first);
  }
  await context.close();
});

test("a sample shows its image, which can be enlarged by keyboard", async () => {
  const { page, faults, close } = await list();
  await page.locator("#rows .question a").first().click();
  await page.waitForURL(/\/sample\//);
  const image = page.locator("main img").first();
  await image.waitFor();
  assert.ok(await image.evaluate(async (img) => { await img.decode(); return img.naturalWidth; }) > 0);
  const before = await image.boundingBox();
  const larger = page.getByRole("button", { name: /larger|zoom in|^\+$/i }).first();
  await larger.focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await page.waitForTimeout(300);
  assert.ok((await image.boundingBox()).width > before.width, "the image is larger");
  assert.deepEqual(faults, []);
  await close();
});

test("SQL answers, says what is wrong, and does not write", async () => {
  for (const view of VIEWS.slice(0, 2)) {
    const { page, faults, close } = await open(browser, { view, allow: [400] });
    await go(page, `/data/${run}/sql`);
    await page.locator(".examples a").first().click();
    await page.locator("#answer table").waitFor();
    assert.ok(await page.locator("#answer tbody tr").count() > 0);
    await picture(page, `sql-answer-${view.name}`);
    for (const [query, says] of [["SELECT 1 +", /./], ["DROP TABLE samples", /read|only|write/i]]) {
      await page.locator("#sql").fill(query);
      await page.getByRole("button", { name: "Run" }).click();
      await page.waitForFunction((asked) => document.querySelector("#sql")?.value === asked && document.querySelector("#answer.wrong"), query);
      assert.match(await page.locator("#answer").innerText(), says);
    }
    assert.deepEqual(faults, []);
    await close();
  }
});

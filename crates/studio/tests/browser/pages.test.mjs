// Every page of a run, in both themes and two widths: it loads without a fault, fits, and can be read by all.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { VIEWS, go, launch, open, picture, sound } from "./setup.mjs";

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

/** Links of a page to others of the same origin, without fragments. */
const links = (page, within) => page.locator(`${within} a[href]`).evaluateAll((all) => [...new Set(all
  .map((link) => new URL(link.href))
  .filter((to) => to.origin === location.origin)
  .map((to) => to.pathname + to.search))]);

/** The pages of the first run that is listed: those of the navigation, and some that they lead to. */
async function addresses() {
  const { page, close } = await open(browser);
  await go(page, "/runs");
  const runs = (await links(page, "main")).filter((to) => /^\/runs\/[^/?]+$/.test(to));
  assert.ok(runs.length > 0, "a run is listed");
  await go(page, runs[0]);
  const found = new Set(["/runs", runs[0], ...await links(page, "header nav")]);
  for (const stage of (await links(page, "main")).filter((to) => to.startsWith(`${runs[0]}/`)).slice(0, 1)) found.add(stage);
  const data = [...found].find((to) => to.startsWith("/data/"));
  await go(page, data);
  const below = await links(page, "main");
  for (const wanted of ["/sample/", "/sql"]) {
    const first = below.find((to) => to.includes(wanted));
    if (first) found.add(first);
  }
  if (runs.length > 1) found.add(`/training?run=${runs[0].slice(6)}&run=${runs[1].slice(6)}`);
  await close();
  return [...found, "/nowhere"];
}

for (const view of VIEWS) {
  test(`every page is sound, ${view.name}`, async (context) => {
    for (const path of await addresses()) {
      await context.test(path, async () => {
        const { page, faults, close } = await open(browser, { view, allow: path === "/nowhere" ? [404] : [] });
        const response = await go(page, path);
        assert.equal(response.status(), path === "/nowhere" ? 404 : 200);
        // What is loaded after the page: curves, thumbnails, what is live.
        await page.waitForTimeout(400);
        await picture(page, `${path.slice(1).split("?")[0].replace(/[^a-z0-9]+/gi, "-").slice(0, 60) || "front"}-${view.name}`);
        await sound(page, faults, path);
        await close();
      });
    }
  });
}

test("the navigation is walked by keyboard and keeps to the run", async () => {
  const { page, faults, close } = await open(browser);
  await go(page, "/runs");
  const run = (await links(page, "main")).find((to) => /^\/runs\/[^/?]+$/.test(to));
  await go(page, run);
  const [, , name] = run.split("/");
  for (let step = 0; step < 20; step += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.textContent) === "Evaluation") break;
  }
  await Promise.all([page.waitForURL(/\/evaluation\//), page.keyboard.press("Enter")]);
  assert.equal(new URL(page.url()).pathname, `/evaluation/${name}`);
  assert.equal(await page.locator('header nav [aria-current="page"]').innerText(), "Evaluation");
  assert.ok((await links(page, "header nav")).includes(`/data/${name}`));
  assert.deepEqual(faults, []);
  await close();
});

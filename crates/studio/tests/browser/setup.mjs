// A browser on the server under test, and what must hold of every page whatever it shows.
//
// The environment says where things are: ADDRESS of the server, CHROMIUM, MODULES (the folder that the npm
// packages were installed in), OUT (where screenshots go).

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { ADDRESS, CHROMIUM, MODULES, OUT } = process.env;
for (const [name, value] of Object.entries({ ADDRESS, CHROMIUM, MODULES, OUT })) {
  if (!value) throw new Error(`${name} is not set; run \`cargo xtask browser\``);
}

const require = createRequire(join(MODULES, "package.json"));
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const address = new URL(ADDRESS);

/** The sizes and themes that pages are looked at in. */
export const VIEWS = [
  { name: "wide-light", viewport: { width: 1600, height: 1000 }, colorScheme: "light" },
  { name: "narrow-light", viewport: { width: 390, height: 844 }, colorScheme: "light" },
  { name: "wide-dark", viewport: { width: 1600, height: 1000 }, colorScheme: "dark" },
  { name: "narrow-dark", viewport: { width: 390, height: 844 }, colorScheme: "dark" },
];

export const launch = () => chromium.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});

/** A page in a context of its own. `faults` gathers what no page may do; `allow` are statuses that a test provokes. */
export async function open(browser, { view = VIEWS[0], allow = [] } = {}) {
  const context = await browser.newContext({
    viewport: view.viewport, colorScheme: view.colorScheme, reducedMotion: "reduce",
    permissions: ["clipboard-read", "clipboard-write"],
  });
  const page = await context.newPage();
  const faults = [];
  const provoked = (text) => allow.some((status) => text.includes(`status of ${status}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !provoked(message.text())) faults.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`script: ${error.message}`));
  page.on("requestfailed", (request) => {
    const reason = request.failure()?.errorText ?? "";
    // A request that the page itself gave up, or that another page's loading ended, is no failure.
    if (!reason.includes("ERR_ABORTED")) faults.push(`failed: ${request.url()} ${reason}`);
  });
  page.on("response", (response) => {
    const status = response.status();
    if (status >= 400 && !allow.includes(status)) faults.push(`status ${status}: ${response.url()}`);
  });
  page.on("request", (request) => {
    const to = new URL(request.url());
    if (to.origin !== address.origin && !["data:", "blob:"].includes(to.protocol)) faults.push(`leaves the origin: ${to}`);
  });
  return { page, faults, close: () => context.close() };
}

export const go = (page, path) => page.goto(new URL(path, address).href, { waitUntil: "load" });

/** Keeps a picture of the page to be looked at. */
export async function picture(page, name) {
  mkdirSync(OUT, { recursive: true });
  // A page that goes on for ever is shown as far as someone would scroll.
  const height = await page.evaluate(() => Math.min(document.documentElement.scrollHeight, 6000));
  const { width } = page.viewportSize();
  await page.screenshot({ path: join(OUT, `${name}.png`), fullPage: true, clip: { x: 0, y: 0, width, height } });
}

/** What must hold of a page as it stands: nothing wider than the window, nothing that axe finds, no fault so far. */
export async function sound(page, faults, name) {
  const wider = await page.evaluate(() => {
    if (document.documentElement.scrollWidth <= window.innerWidth) return [];
    return [...document.querySelectorAll("body *")]
      .filter((element) => element.getBoundingClientRect().right > window.innerWidth + 1)
      .slice(0, 5)
      .map((element) => element.outerHTML.slice(0, 120));
  });
  assert.deepEqual(wider, [], `${name} is wider than the window`);
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] });
    return violations.map((rule) => `${rule.id}: ${rule.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} (${node.any[0]?.message ?? ""})`).join(" | ")}`);
  });
  assert.deepEqual(found, [], `${name}: what axe finds`);
  assert.deepEqual(faults, [], `${name}: faults`);
}

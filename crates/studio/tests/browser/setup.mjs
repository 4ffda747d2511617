// A browser on the server under test, and what must hold of every page whatever it shows.
//
// The environment says where things are: ADDRESS of the server, CHROMIUM, MODULES (the folder that the npm
// packages were installed in), OUT (where screenshots go); ASSETS where files are tried without a build.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
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
  await fromCheckout(page);
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

/** Serves the checkout's own files instead of those in a server built earlier, where ASSETS names their folder. */
async function fromCheckout(page) {
  const folder = process.env.ASSETS;
  if (!folder) return;
  await page.route("**/assets/**", (route) => {
    const name = new URL(route.request().url()).pathname.split("/").slice(3).join("/");
    const path = name === "report.css" ? join(folder, "../../report/src/style.css") : join(folder, name);
    return existsSync(path) ? route.fulfill({ path }) : route.continue();
  });
}

export const go = (page, path) => page.goto(new URL(path, address).href, { waitUntil: "load" });

/** Keeps a picture of the page to be looked at. */
export async function picture(page, name) {
  mkdirSync(OUT, { recursive: true });
  // A page that goes on for ever is shown as far as someone would scroll.
  const height = await page.evaluate(() => Math.min(document.documentElement.scrollHeight, 3000));
  const { width } = page.viewportSize();
  // What sticks to the window would lie over the middle of a long picture.
  const still = await page.addStyleTag({ content: "header.bar, .composer { position: static !important; }" });
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.screenshot({ path: join(OUT, `${name}.png`), fullPage: true, clip: { x: 0, y: 0, width, height } });
  await still.evaluate((style) => style.remove());
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
    // axe sees what lies behind a picture's text, but not the outline in the page's colour that parts the two.
    const outlined = (node) => {
      const element = document.querySelector(node.target[0]);
      return element?.closest("svg") && getComputedStyle(element).paintOrder.startsWith("stroke");
    };
    for (const rule of violations) {
      if (rule.id === "color-contrast") rule.nodes = rule.nodes.filter((node) => !outlined(node));
    }
    return violations.filter((rule) => rule.nodes.length).map((rule) => `${rule.id}: ${rule.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} (${node.any[0]?.message ?? ""})`).join(" | ")}`);
  });
  assert.deepEqual(found, [], `${name}: what axe finds`);
  assert.deepEqual(faults, [], `${name}: faults`);
}

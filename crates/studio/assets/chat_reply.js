// One model's reply: asked for, shown as it comes, measured.

import { make } from "./dom.js";
import { formula } from "./math.js";
import { Shown } from "./markdown.js";
import { chunksOf, events } from "./sse.js";

/** How a model is asked: where, and with which key. */
export const COMPLETIONS = "/v1/chat/completions";

/** Tokens that came in less time than this came together: how fast they were written is not known. In milliseconds. */
const SHORTEST = 50;

/** A refusal of the server, in its own words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Headers of a request. The key is in the page's memory only. */
export function headers(key) {
  const all = { "Content-Type": "application/json" };
  if (key) all.Authorization = `Bearer ${key}`;
  return all;
}

/** What a refused response says. */
export async function refusal(response) {
  const text = await response.text().catch(() => "");
  let message = "";
  try {
    message = JSON.parse(text).error.message;
  } catch {
    message = text.slice(0, 500);
  }
  return new Refused(response.status, message || `the server answered with status ${response.status}`);
}

/** A reply with its panel on the page. `announce` is told whole sentences. */
export class Reply {
  constructor(model, announce) {
    this.model = model;
    this.announce = announce;
    this.body = make("div", { className: "reply-text" });
    this.figures = make("p", { className: "figures" });
    this.buttons = make("div", { className: "buttons" });
    this.element = make("section", { className: "reply-card" },
      make("h2", { textContent: model }), this.body, this.figures, this.buttons);
    this.element.setAttribute("aria-label", `Reply of ${model}`);
    this.clear();
  }

  clear() {
    Object.assign(this, { text: "", state: "waiting", finish: null, usage: null, error: null, first: null, rate: null });
    this.said = 0;
    this.body.replaceChildren();
    this.shown = new Shown(this.body, formula);
    this.figures.textContent = "waiting …";
    this.element.dataset.state = this.state;
  }

  /** Asks, and follows the answer to its end; never throws. Returns the status of a refusal, else null. */
  async follow(body, key, signal) {
    this.clear();
    this.element.setAttribute("aria-busy", "true");
    const asked = performance.now();
    let last = asked;
    let refused = null;
    try {
      const response = await fetch(COMPLETIONS, { method: "POST", headers: headers(key), body: JSON.stringify(body), signal });
      if (!response.ok) throw await refusal(response);
      let ended = false;
      for await (const data of events(chunksOf(response.body))) {
        if (ended || data === "[DONE]") {
          // Read on to the body's end, so that the connection can be used again.
          ended = true;
          continue;
        }
        const added = this.take(JSON.parse(data));
        if (added) {
          last = performance.now();
          this.first ??= last - asked;
          this.later();
        }
      }
      if (!ended && !this.finish) throw new Error("the connection ended before the reply did");
      this.state = "done";
    } catch (error) {
      if (signal.aborted) {
        this.state = "stopped";
      } else {
        this.state = "failed";
        this.error = error instanceof TypeError ? "the server cannot be reached" : error.message;
        refused = error.status ?? 0;
      }
    }
    const writing = last - asked - this.first;
    if (this.usage?.completion_tokens > 1 && writing > SHORTEST) {
      this.rate = ((this.usage.completion_tokens - 1) / writing) * 1000;
    }
    this.end();
    return refused;
  }

  /** Takes one event; whether it added text. */
  take(event) {
    if (event.error) throw new Error(event.error.message ?? "the server gave up");
    if (event.usage) this.usage = event.usage;
    const choice = event.choices?.[0];
    if (!choice) return false;
    if (choice.finish_reason) this.finish = choice.finish_reason;
    const added = choice.delta?.content ?? "";
    this.text += added;
    return added !== "";
  }

  /** Shows what came since, with the next frame: tokens may come faster than frames. */
  later() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      if (this.state === "waiting") {
        this.state = "writing";
        this.element.dataset.state = this.state;
        this.figures.textContent = "writing …";
      }
      if (this.state !== "writing") return;
      this.shown.update(this.text);
      const upTo = this.said + sentences(this.text.slice(this.said));
      if (upTo > this.said) this.announce(this.text.slice(this.said, upTo));
      this.said = upTo;
    });
  }

  end() {
    this.element.removeAttribute("aria-busy");
    this.element.dataset.state = this.state;
    this.shown.update(this.text);
    if (this.error) this.body.append(make("p", { className: "error", textContent: this.error }));
    this.figures.textContent = this.measured();
    const rest = this.text.slice(this.said).trim();
    const state = { stopped: "Stopped.", failed: `Failed: ${this.error}`, done: "" }[this.state];
    this.announce([rest, state].filter(Boolean).join(" ") || `${this.model}: an empty reply.`);
  }

  measured() {
    const facts = [];
    if (this.state === "stopped") facts.push("stopped");
    if (this.finish === "length") facts.push("cut at the limit of tokens");
    if (this.first !== null) facts.push(`first token ${seconds(this.first)}`);
    if (this.rate !== null) facts.push(`${this.rate.toFixed(1)} tokens/s`);
    if (this.usage) {
      const cached = this.usage.prompt_tokens_details?.cached_tokens;
      facts.push(`${this.usage.completion_tokens} tokens after ${this.usage.prompt_tokens}${cached ? ` (${cached} from the cache)` : ""}`);
    }
    return facts.join(" · ");
  }

  /** For keeping. */
  toJSON() {
    return {
      model: this.model, text: this.text, finish_reason: this.finish, state: this.state, usage: this.usage,
      first_token_ms: this.first, tokens_per_second: this.rate, error: this.error,
    };
  }
}

/** Where the last whole sentence of a text ends. */
function sentences(text) {
  let end = 0;
  for (const found of text.matchAll(/(?<!\d)[.!?:](?=\s)|\n/g)) end = found.index + 1;
  return end;
}

function seconds(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

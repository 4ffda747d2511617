// The chat: a question with images goes to one or several models, whose replies stream in side by side.
//
// The conversation is in the page's memory and nowhere else; "Export" hands it out.

import { Attachments } from "./chat_images.js";
import { COMPLETIONS, Reply, headers, refusal } from "./chat_reply.js";
import { Unclear, curl, requestBody } from "./chat_request.js";
import { download, make } from "./dom.js";
import { typeset } from "./math.js";

const at = (id) => document.getElementById(id);
const [settings, models, key, turnList, composer, question, status, live] =
  ["settings", "models", "key", "turns", "composer", "question", "status", "live"].map(at);

/** Questions longer than this may not fit their box, in characters. */
const LONG = 800;

/** `{text, images, replies: Map(model -> Reply), element}` in order. */
let turns = [];
/** What stops the replies that are being written; null while there are none. */
let running = null;

const attachments = new Attachments(at("attachments"), say);

function say(text) {
  status.textContent = text;
}

/** Screen readers are told sentences one after the other; the region does not grow without end. */
function announce(text) {
  if (!text.trim()) return;
  live.append(make("p", { textContent: text.trim() }));
  while (live.childElementCount > 20) live.firstElementChild.remove();
}

async function listModels() {
  let listed;
  try {
    const response = await fetch("/v1/models", { headers: headers(key.value) });
    if (response.status === 401) {
      showKey();
      say("This server asks for a key.");
      return;
    }
    if (!response.ok) throw await refusal(response);
    listed = (await response.json()).data.map((model) => model.id);
  } catch (error) {
    say(`The models cannot be listed: ${error.message}`);
    return;
  }
  say("");
  const before = chosen();
  models.replaceChildren(...listed.map((id, index) => {
    const box = make("input", { type: "checkbox", name: "model", value: id });
    box.checked = before.length ? before.includes(id) : index === 0;
    return make("label", { className: "check" }, box, id);
  }));
}

function showKey() {
  at("key-field").hidden = false;
}

const chosen = () => [...models.querySelectorAll("input:checked")].map((box) => box.value);
const formTexts = () => Object.fromEntries(
  ["temperature", "top_p", "max_tokens", "seed", "system", "stop", "schema"].map((name) => [name, settings.elements[name].value]));

/** The conversation that a model has seen up to a turn, and that turn's question. */
function seenBy(model, turn) {
  const seen = [];
  for (const earlier of turns.slice(0, turns.indexOf(turn))) {
    const reply = earlier.replies.get(model);
    if (!reply?.text) continue;
    seen.push({ role: "user", text: earlier.text, images: earlier.images }, { role: "assistant", text: reply.text });
  }
  return [...seen, { role: "user", text: turn.text, images: turn.images }];
}

/** The body that asks a model for its reply in a turn; null, with the reason shown, where the settings are unclear. */
function bodyFor(model, turn) {
  try {
    const body = requestBody(model, seenBy(model, turn), formTexts());
    for (const field of settings.elements) field.removeAttribute("aria-invalid");
    return body;
  } catch (error) {
    if (!(error instanceof Unclear)) throw error;
    const field = settings.elements[error.field];
    field.setAttribute("aria-invalid", "true");
    for (let box = field.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    field.focus();
    say(error.message);
    return null;
  }
}

function send() {
  if (running) return;
  const text = question.value.trim();
  const asked = chosen();
  if (!text && !attachments.images.length) {
    say("Write a question or add an image first.");
    question.focus();
    return;
  }
  if (!asked.length) {
    say("Choose a model first.");
    models.querySelector("input")?.focus();
    return;
  }
  const turn = { text, images: attachments.images, replies: new Map() };
  turns.push(turn);
  const bodies = asked.map((model) => bodyFor(model, turn));
  if (bodies.includes(null)) {
    turns.pop();
    return;
  }
  attachments.take();
  question.value = "";
  say("");
  for (const model of asked) turn.replies.set(model, reply(model, turn));
  turn.element = shown(turn);
  turnList.append(turn.element);
  turn.element.scrollIntoView({ block: "start" });
  run([...turn.replies.values()].map((one, index) => [one, bodies[index]]));
}

/** Follows replies until all are at their end. */
async function run(asked) {
  running = new AbortController();
  working(true);
  const statuses = await Promise.all(asked.map(([one, body]) => one.follow(body, key.value, running.signal)));
  running = null;
  working(false);
  if (statuses.includes(401)) {
    showKey();
    say("This server asks for a key.");
    key.focus();
  }
}

function working(is) {
  at("send").disabled = is;
  at("stop").hidden = !is;
  for (const button of turnList.querySelectorAll("button.idle")) button.disabled = is;
}

function stop() {
  running?.abort();
  question.focus();
}

function reply(model, turn) {
  const one = new Reply(model, announce);
  one.buttons.append(
    button("Regenerate", `Regenerate the reply of ${model}`, "quiet idle again", () => {
      const body = running ? null : bodyFor(model, turn);
      if (body) run([[one, body]]);
    }),
    button("Copy text", `Copy text of the reply of ${model}`, "quiet", () => copy(one.text, "The reply")),
    button("Copy as curl", `Copy as curl the request to ${model}`, "quiet", () => {
      const body = bodyFor(model, turn);
      if (body) showCommand(body);
    }),
  );
  return one;
}

function button(text, label, className, act) {
  const made = make("button", { type: "button", textContent: text, className });
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

/** A turn on the page: the question, then the replies in columns. */
function shown(turn) {
  const text = make("div", { className: "asked-text", textContent: turn.text });
  typeset(text);
  // A text that may scroll in its box is reached by keyboard.
  if (turn.text.length > LONG) text.tabIndex = 0;
  const pictures = make("div", { className: "asked-images" },
    ...turn.images.map((image) => make("img", { src: image.data, alt: image.name })));
  const edit = button("Edit", "Edit this question; what follows is dropped", "quiet idle", () => {
    if (running) return;
    const from = turns.indexOf(turn);
    for (const later of turns.slice(from)) later.element.remove();
    turns = turns.slice(0, from);
    question.value = turn.text;
    attachments.set(turn.images);
    question.focus();
  });
  return make("li", { className: "turn" },
    make("div", { className: "asked" }, pictures, text, edit),
    make("div", { className: "columns" }, ...[...turn.replies.values()].map((one) => one.element)));
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} is on the clipboard.`);
    return true;
  } catch {
    say("The browser does not let this page write to the clipboard.");
    return false;
  }
}

/** The command is shown as well: a page that is not on this machine or https may not write to the clipboard. */
function showCommand(body) {
  const { command, file } = curl(new URL(COMPLETIONS, location.href).href, body, key.value !== "" || !at("key-field").hidden);
  at("command-text").value = command;
  at("command-file").hidden = !file;
  at("command-file").onclick = () => download("request.json", "application/json", file);
  at("command-note").textContent = file
    ? "The request is too long for a command: keep it as request.json, and run the command beside it."
    : "For a POSIX shell.";
  at("command").showModal();
  at("command-text").select();
  copy(command, "The command");
}

function keep() {
  const kept = {
    settings: formTexts(),
    turns: turns.map(({ text, images, replies }) => ({ question: { text, images }, replies: [...replies.values()] })),
  };
  download("conversation.json", "application/json", JSON.stringify(kept, null, 2));
}

function begin() {
  stop();
  turns = [];
  turnList.replaceChildren();
  say("A new conversation.");
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
settings.addEventListener("submit", (event) => event.preventDefault());
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    send();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running && !at("command").open) stop();
});
at("stop").addEventListener("click", stop);
at("new").addEventListener("click", begin);
at("export").addEventListener("click", keep);
at("command-close").addEventListener("click", () => at("command").close());
at("command-copy").addEventListener("click", async () => {
  const copied = await copy(at("command-text").value, "The command");
  at("command-copy").textContent = copied ? "Copied" : "Copy by hand";
  if (!copied) at("command-text").select();
});
at("command").addEventListener("close", () => { at("command-copy").textContent = "Copy"; });
key.addEventListener("change", listModels);

at("files").addEventListener("change", async (event) => {
  await attachments.add(event.target.files);
  event.target.value = "";
});
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length) return;
  event.preventDefault();
  attachments.add(files);
});
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  composer.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) composer.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  composer.classList.remove("dropping");
  if (!event.dataTransfer?.files.length) return;
  event.preventDefault();
  attachments.add(event.dataTransfer.files);
});

// On a narrow page the settings would push the question out of sight.
if (matchMedia("(min-width: 1000px)").matches) at("more").open = true;
listModels();

// A conversation as a request of OpenAI's form, and as a command that asks the same.

/** A body up to this length stands in the command; systems allow an argument some 128 KB. */
const IN_COMMAND = 100_000;

/** Something in the settings that cannot be meant; `field` is its name in the form. */
export class Unclear extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/**
 * The body that asks a model to go on. Turns are `{role, text, images: [{data}]}`, images as data addresses.
 * Settings are the form's texts; what is empty is left to the server.
 */
export function requestBody(model, turns, settings) {
  const body = { model, messages: [] };
  const system = (settings.system ?? "").trim();
  if (system) body.messages.push({ role: "system", content: settings.system });
  for (const turn of turns) body.messages.push({ role: turn.role, content: content(turn) });
  number(body, settings, "temperature", 0, 2);
  number(body, settings, "top_p", 0, 1);
  number(body, settings, "max_tokens", 1, 1e9, true);
  number(body, settings, "seed", -(2 ** 53), 2 ** 53, true);
  const stop = (settings.stop ?? "").split("\n").filter((line) => line !== "");
  if (stop.length > 4) throw new Unclear("stop", "Stop: no more than 4 texts, one a line");
  if (stop.length) body.stop = stop;
  const schema = (settings.schema ?? "").trim();
  if (schema) {
    let parsed;
    try {
      parsed = JSON.parse(schema);
    } catch (error) {
      throw new Unclear("schema", `JSON schema: ${error.message}`);
    }
    body.response_format = { type: "json_schema", json_schema: { name: "reply", schema: parsed, strict: true } };
  }
  return { ...body, stream: true, stream_options: { include_usage: true } };
}

function content(turn) {
  if (!turn.images?.length) return turn.text;
  const parts = turn.images.map((image) => ({ type: "image_url", image_url: { url: image.data } }));
  if (turn.text) parts.push({ type: "text", text: turn.text });
  return parts;
}

function number(body, settings, name, least, most, whole = false) {
  const text = (settings[name] ?? "").trim();
  if (!text) return;
  const value = Number(text);
  if (!(value >= least && value <= most) || (whole && !Number.isInteger(value))) {
    const kind = whole ? "a whole number" : "a number";
    throw new Unclear(name, `${name}: ${kind} from ${least} to ${most} is wanted, not "${text}"`);
  }
  body[name] = value;
}

/**
 * The command that asks the same. A body too long for a command is `file`, to be kept as request.json. The key
 * is never in it: the shell takes it from the environment.
 */
export function curl(address, body, needsKey) {
  const json = JSON.stringify(body);
  const fits = json.length <= IN_COMMAND;
  const words = ["curl -N", quoted(address), "-H 'Content-Type: application/json'"];
  if (needsKey) words.push('-H "Authorization: Bearer $MATH_LLAVA_KEY"');
  words.push(`--data-binary ${fits ? quoted(json) : "@request.json"}`);
  return { command: words.join(" \\\n  "), file: fits ? null : json };
}

/** A word that a POSIX shell takes as it is. */
export function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

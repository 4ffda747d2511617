// Server-sent events out of a response's body, as they come.

/** A longer event than this ends the stream: whoever sends it is not the server that we know. */
const LONGEST = 8 << 20;

/** The data of each event in a stream of bytes (anything that can be iterated asynchronously over them). */
export async function* events(chunks) {
  const decoder = new TextDecoder();
  let buffer = "";
  let data = [];
  for await (const chunk of chunks) {
    buffer += decoder.decode(chunk, { stream: true });
    if (buffer.length > LONGEST) throw new Error("the server sent a line without end");
    let from = 0;
    for (;;) {
      const end = lineEnd(buffer, from);
      if (!end) break;
      const line = buffer.slice(from, end.at);
      from = end.next;
      if (line === "") {
        if (data.length) yield data.join("\n");
        data = [];
      } else if (line.startsWith("data:")) {
        data.push(line.slice(line[5] === " " ? 6 : 5));
      }
    }
    buffer = buffer.slice(from);
  }
  // An event that no empty line has ended is not complete, and is dropped as the standard says.
}

/** The next end of a line; one carriage return at the very end may be half of one, and waits. */
function lineEnd(text, from) {
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === "\n") return { at, next: at + 1 };
    if (text[at] === "\r") {
      if (at + 1 === text.length) return null;
      return { at, next: text[at + 1] === "\n" ? at + 2 : at + 1 };
    }
  }
  return null;
}

/** A body's chunks, for browsers whose streams cannot be iterated; ends the request when left early. */
export async function* chunksOf(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * What do the bytes of a stream of server-sent events say? As EventSource reads them (HTML standard, 9.2.6), but over any
 * request, POST among them, and with the comments, in which the gateway tells of its way.
 */

const LONGEST_LINE = 4 * 1024 * 1024;

/** Cuts text into lines that end in LF, CR or CRLF, however it comes in pieces. */
export class LineCutter {
  #rest = "";

  /** Take a piece; give the lines that it completes. */
  cut(piece) {
    let text = this.#rest + piece;
    const endsInReturn = text.endsWith("\r"); // its line feed may be about to come
    if (endsInReturn) text = text.slice(0, -1);
    const lines = text.split(/\r\n|\n|\r/);
    this.#rest = lines.pop() + (endsInReturn ? "\r" : "");
    if (this.#rest.length > LONGEST_LINE) throw new Error("A line of the stream does not end.");
    return lines;
  }
}

/** Puts lines together to events. */
export class EventGatherer {
  #name = "";
  #data = [];

  /** Take a line; give what it completes, or null: {comment} or {name, data}. */
  take(line) {
    if (line === "") return this.#dispatch();
    if (line.startsWith(":")) return {comment: line.slice(1).trim()};
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#name = value;
    return null;
  }

  #dispatch() {
    const event = this.#data.length > 0 ? {name: this.#name || "message", data: this.#data.join("\n")} : null;
    this.#name = "";
    this.#data = [];
    return event;
  }
}

/**
 * Read a body to its end.
 * @param {ReadableStream<Uint8Array>} body
 * @yields {{comment: string} | {name: string, data: string}}
 */
export async function* readEvents(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const cutter = new LineCutter();
  const gatherer = new EventGatherer();
  try {
    for (;;) {
      const {done, value} = await reader.read();
      for (const line of cutter.cut(done ? decoder.decode() : decoder.decode(value, {stream: true}))) {
        const told = gatherer.take(line);
        if (told) yield told;
      }
      if (done) return;
    }
  } finally {
    await reader.cancel().catch(() => {}); // it may be broken already, which its reader was told
  }
}

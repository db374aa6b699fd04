// Writes tasks for taps-wasm: `component({...})` makes the exports of a component out of functions.
// Copy this file into your project.
//
// A task is `{ help, parameters, output, pure, run }`. Parameters are pairs of a name and a type, of which the last
// may begin with `...` and takes the rest of the arguments. Types: `bytes` (Uint8Array), `arrow` (the same: an Arrow
// IPC stream), `text` (string), `payload` (a handle, read piece by piece) and `json` (everything else). An error
// that is thrown ends the task with the outcome `task-error`, whose kind is the error's name.

import { OutputBuffer } from "taps:core/payloads@0.1.0";

// Version of `taps:core` in `wit/taps.wit`.
const WIT_VERSION = "0.1.0";
// Results up to this size travel with the answer; larger ones are written into a segment of the host.
const INLINE_BYTES = 64 << 10;
// A payload is read in pieces of this size.
const PIECE_BYTES = 4 << 20;

/** A failure as the host takes it: a task's own error. */
class Failure extends Error {
  constructor(kind, message) {
    super(message);
    this.payload = { kind, message };
  }
}

/** The exports `description` and `tasks` of a component. Tasks are numbered by name. */
export function component({ name, version, summary, tasks: byName }) {
  const list = Object.keys(byName).sort().map((task) => ({ name: task, ...byName[task] }));
  const description = {
    describe: () => JSON.stringify({
      name,
      version,
      summary,
      wit_version: WIT_VERSION,
      driver: false,
      tasks: list.map(({ name, help, parameters, output, pure }) => ({
        name,
        help,
        parameters: parameters.map(([name, type]) =>
          name.startsWith("...") ? [name.slice(3), `list of ${type}`] : [name, type]),
        outputs: [output],
        pure: pure ?? false,
      })),
    }),
  };
  const tasks = {
    async run(index, args) {
      Math.random = seeded();
      try {
        const task = list[index];
        return [write(await task.run(...readAll(task.parameters, args)))];
      } catch (error) {
        throw error instanceof Failure ? error : new Failure(error?.name ?? typeof error, describeError(error));
      }
    },
  };
  return { description, tasks };
}

/**
 * Random numbers that begin with the task, also in a sandbox that is used again: the host gives every task its own
 * bytes, the same whenever the run has the same seed. SpiderMonkey's own would go on from one task to the next.
 */
function seeded() {
  let state;
  // Small Fast Counter, of the suite PractRand.
  const next = () => {
    const [a, b, c, counter] = state;
    const sum = (a + b + counter) | 0;
    state = [b ^ (b >>> 9), (c + (c << 3)) | 0, (((c << 21) | (c >>> 11)) + sum) | 0, (counter + 1) | 0];
    return sum >>> 0;
  };
  return () => {
    if (state === undefined) {
      state = [...crypto.getRandomValues(new Uint32Array(3)), 1];
      for (let round = 0; round < 12; round++) {
        next();
      }
    }
    return ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
  };
}

/** The whole payload. */
export function readPayload(payload) {
  const bytes = new Uint8Array(Number(payload.size()));
  for (let at = 0; at < bytes.length;) {
    const wanted = Math.min(bytes.length - at, PIECE_BYTES);
    const piece = host(() => payload.read(BigInt(at), wanted));
    if (piece.length === 0) {
      throw new RangeError(`a payload of ${bytes.length} bytes ends after ${at}`);
    }
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function describeError(error) {
  // The innermost line of `function@directories/file:line:column`.
  const place = String(error?.stack ?? "").split("\n")[0].replace(/@.*\//, "@");
  return place ? `${error.message} (${place})` : String(error?.message ?? error);
}

/** Calls the host; a payload that cannot be read or written ends the task with `payload-error`. */
function host(call) {
  try {
    return call();
  } catch (error) {
    throw new Failure("payload-error", String(error?.payload ?? error));
  }
}

function readAll(parameters, args) {
  const rest = parameters.at(-1)?.[0].startsWith("...") ? parameters.at(-1)[1] : null;
  const fixed = rest === null ? parameters : parameters.slice(0, -1);
  if (args.length < fixed.length || (rest === null && args.length > fixed.length)) {
    const expected = rest === null ? `${fixed.length}` : `at least ${fixed.length}`;
    throw new TypeError(`${args.length} arguments given, expected ${expected}`);
  }
  return args.map((argument, index) => read(argument, index < fixed.length ? fixed[index][1] : rest));
}

function read(argument, type) {
  if (type === "payload") {
    if (argument.tag === "payload") {
      return argument.val;
    }
    throw new TypeError("a small payload travels with the call; take `bytes`");
  }
  const bytes = argument.tag === "inline" ? argument.val : readPayload(argument.val);
  switch (type) {
    case "bytes":
    case "arrow":
      return bytes;
    case "text":
      return new TextDecoder().decode(bytes);
    default:
      return JSON.parse(new TextDecoder().decode(bytes));
  }
}

function write(result) {
  const text = typeof result === "string" ? result : null;
  // Arrays that the host made are of another `Uint8Array`, which `instanceof` does not know.
  const bytes = ArrayBuffer.isView(result)
    ? new Uint8Array(result.buffer, result.byteOffset, result.byteLength)
    : new TextEncoder().encode(text ?? JSON.stringify(result));
  if (bytes.length <= INLINE_BYTES) {
    return { tag: "inline", val: bytes };
  }
  return { tag: "buffer", val: host(() => OutputBuffer.copy(bytes)) };
}

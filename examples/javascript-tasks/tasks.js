// Tasks in JavaScript: words of a text are counted, counts are added up and made a table, columns are summarised, and
// bytes are reversed.

import { tableFromArrays, tableFromIPC, tableToIPC } from "apache-arrow";
import { component } from "./taps.js";

/** The same object with its keys in order, so that equal counts are equal bytes. */
function sorted(counts) {
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}

const javascript_count_words = {
  help: "Counts the words of a text: runs of ASCII letters, in lower case.",
  parameters: [["text", "text"]],
  output: "json",
  pure: true,
  run(text) {
    const counts = new Map();
    for (const [word] of text.matchAll(/[A-Za-z]+/g)) {
      const key = word.toLowerCase();
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return sorted(counts);
  },
};

const javascript_merge_counts = {
  help: "Adds up counts.",
  parameters: [["...counts", "json"]],
  output: "json",
  pure: true,
  run(...counts) {
    const total = new Map();
    for (const [word, count] of counts.flatMap(Object.entries)) {
      total.set(word, (total.get(word) ?? 0) + count);
    }
    return sorted(total);
  },
};

const javascript_reverse = {
  help: "Reverses the order of bytes.",
  parameters: [["data", "bytes"]],
  output: "bytes",
  pure: true,
  run: (data) => data.toReversed(),
};

const javascript_draw = {
  help: "Draws a number from 0 to 1, by the seed of the task.",
  parameters: [],
  output: "json",
  run: () => Math.random(),
};

const javascript_counts_table = {
  help: "Makes a table of counts, `word` and `count`, most frequent first: an Arrow IPC stream.",
  parameters: [["counts", "json"]],
  output: "arrow",
  pure: true,
  run(counts) {
    const rows = Object.entries(counts).sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    const table = tableFromArrays({
      word: rows.map(([word]) => word),
      count: Float64Array.from(rows, ([, count]) => count),
    });
    return tableToIPC(table, "stream");
  },
};

const javascript_column_statistics = {
  help: "Rows, sum, least and greatest of each column of numbers in an Arrow IPC stream.",
  parameters: [["table", "arrow"]],
  output: "json",
  pure: true,
  run(bytes) {
    const table = tableFromIPC(bytes);
    const statistics = {};
    for (const { name } of table.schema.fields) {
      const values = [...table.getChild(name)].map(Number);
      statistics[name] = {
        rows: values.length,
        sum: values.reduce((sum, value) => sum + value, 0),
        least: Math.min(...values),
        greatest: Math.max(...values),
      };
    }
    return statistics;
  },
};

const javascript_misbehave = {
  help: 'Goes wrong as asked, to show what becomes of it: `{"how": "error"}`, `trap` or `memory`.',
  parameters: [["how", "json"]],
  output: "bytes",
  async run({ how }) {
    const hoard = [];
    switch (how) {
      case "error":
        throw new RangeError("asked for by the driver");
      case "trap":
        // Nothing is left that could settle it.
        return await new Promise(() => {});
      case "memory":
        for (;;) {
          hoard.push(new Uint8Array(1 << 20).fill(1));
        }
      default:
        throw new TypeError(`no way to misbehave: ${how}`);
    }
  },
};

export const { description, tasks } = component({
  name: "javascript-tasks",
  version: "0.1.0",
  summary: "Counts words and handles Arrow tables, in JavaScript.",
  tasks: {
    javascript_column_statistics,
    javascript_count_words,
    javascript_counts_table,
    javascript_merge_counts,
    javascript_draw,
    javascript_misbehave,
    javascript_reverse,
  },
});

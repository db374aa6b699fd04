// Makes the component: one file of all modules by esbuild, and SpiderMonkey around it by componentize-js.
//
//     npm install --ignore-scripts && node build.mjs OUTPUT.wasm
//
// WIT names another place of `wit/taps.wit`.

import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { componentize } from "@bytecodealliance/componentize-js";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const [output] = process.argv.slice(2);
if (output === undefined) {
  console.error("usage: node build.mjs OUTPUT.wasm");
  process.exit(2);
}

const bundled = here("bundled.js");
await build({
  entryPoints: [here("tasks.js")],
  outfile: bundled,
  bundle: true,
  format: "esm",
  platform: "neutral",
  mainFields: ["module", "main"],
  external: ["taps:core/*"],
  minifySyntax: true,
});
const scratch = await mkdtemp(join(tmpdir(), "javascript-tasks-"));
try {
  // A package of WIT is a directory, with what it needs below `deps`.
  await mkdir(join(scratch, "deps/taps"), { recursive: true });
  await cp(process.env.WIT ?? here("../../wit/taps.wit"), join(scratch, "deps/taps/taps.wit"));
  await cp(here("tasks.wit"), join(scratch, "tasks.wit"));
  const { component } = await componentize({
    sourcePath: bundled,
    witPath: scratch,
    worldName: "javascript-tasks-component",
    // A task reaches no network: a component that imports `wasi:http` is refused.
    disableFeatures: ["http", "fetch-event"],
  });
  await writeFile(output, component);
} finally {
  await rm(scratch, { recursive: true, force: true });
}

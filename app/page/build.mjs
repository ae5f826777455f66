// Builds the page into built/ and the notebook's canvas into ../../api/widget.js; `npm run build` checks the types first.
// MANIFEST.txt holds a hash of every source, so that a test without node finds built files that are stale.

import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const OUT = "built";
const shared = {
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2023", "chrome120", "firefox121", "safari17.5"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  logLevel: "warning",
  loader: { ".css": "text" },
};

function sources(folder = ".") {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => !["node_modules", OUT, "__pycache__"].includes(entry.name) && !entry.name.endsWith(".py"))
    .flatMap((entry) => (entry.isDirectory() ? sources(join(folder, entry.name)) : [join(folder, entry.name)]))
    .sort();
}

rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT);
await build({ ...shared, entryPoints: ["src/main.tsx"], outfile: join(OUT, "page.js") });
await build({ ...shared, entryPoints: ["src/widget.tsx"], outfile: "../../api/widget.js" });
writeFileSync(join(OUT, "page.css"), readFileSync("canvas.css", "utf8") + readFileSync("page.css", "utf8"));
for (const name of ["index.html", "icon.svg"]) cpSync(name, join(OUT, name));

const hash = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");
writeFileSync(join(OUT, "MANIFEST.txt"), sources().map((path) => `${hash(path)}  ${path}\n`).join(""));

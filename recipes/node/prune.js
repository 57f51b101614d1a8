// Removes installed packages that are made for another C library than this root's. npm before 10 and bundlers bring both.
// Given: folders that have node_modules.
const fs = require("node:fs");
const path = require("node:path");

const isMusl = fs.readdirSync("/lib").some((name) => name.startsWith("ld-musl-"));
const libc = isMusl ? "musl" : "glibc";

// Whether the package in `folder` is for `libc`. Most packages do not say.
function fits(folder) {
  let manifest;
  try {
    manifest = JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8"));
  } catch {
    return true;
  }
  const wanted = [manifest.libc ?? []].flat();
  return wanted.length === 0 || wanted.includes(libc);
}

function prune(modules) {
  let entries;
  try {
    entries = fs.readdirSync(modules, { withFileTypes: true });
  } catch {
    return;
  }
  for (const entry of entries) {
    const folder = path.join(modules, entry.name);
    if (!entry.isDirectory()) {
      continue;
    } else if (entry.name.startsWith("@")) {
      prune(folder);
    } else if (entry.name === ".pnpm") {
      for (const name of fs.readdirSync(folder)) prune(path.join(folder, name, "node_modules"));
    } else if (!fits(folder)) {
      fs.rmSync(folder, { recursive: true });
    } else {
      prune(path.join(folder, "node_modules"));
    }
  }
}

for (const folder of process.argv.slice(2)) prune(path.join(folder, "node_modules"));

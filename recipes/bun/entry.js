// Tells the file that a Bun app starts with.
// Given: package.json in the work folder.
// Leaves: on standard output the file of a start script `bun FILE`, or "module" of package.json, or its "main", or index.ts, or index.js.
const fs = require("node:fs");

const { module: start, main, scripts = {} } = JSON.parse(fs.readFileSync("package.json", "utf8"));
const run = (name) => {
  const words = (scripts[name] ?? "").split(/\s+/).filter((word) => word && !word.startsWith("-") && !word.includes("="));
  if (words[0] !== "bun") return undefined;
  const file = words[1] === "run" ? words[2] : words[1];
  if (file && fs.existsSync(file)) return file;
  return file && file !== name ? run(file) : undefined;
};
console.log(run("start") ?? start ?? main ?? (fs.existsSync("index.ts") ? "index.ts" : "index.js"));

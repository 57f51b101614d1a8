// Tells the file that a Bun app starts with.
// Given: package.json in the work folder, if there is one.
// Leaves: on standard output the file of a start script `bun FILE`, or "module" of package.json, or its "main", or index.ts, index.js or
// the like, or the only source file.
const fs = require("node:fs");

const project = fs.existsSync("package.json") ? JSON.parse(fs.readFileSync("package.json", "utf8")) : {};
const { module: start, main, scripts = {} } = project;
const run = (name) => {
  const words = (scripts[name] ?? "").split(/\s+/).filter((word) => word && !word.startsWith("-") && !word.includes("="));
  if (words[0] !== "bun") return undefined;
  const file = words[1] === "run" ? words[2] : words[1];
  if (file && fs.existsSync(file)) return file;
  return file && file !== name ? run(file) : undefined;
};
const usual = ["index", "server", "main", "app"].flatMap((name) => [`${name}.ts`, `${name}.tsx`, `${name}.js`]);
const sources = fs.readdirSync(".").filter((name) => /\.[jt]sx?$/.test(name) && !/\.d\.ts$|[._](test|spec)\./.test(name));
const only = sources.length === 1 ? sources[0] : "index.js";
console.log(run("start") ?? start ?? main ?? usual.find((name) => fs.existsSync(name)) ?? only);

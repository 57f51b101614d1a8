// Tells the file that a Bun app starts with.
// Given: package.json in the work folder, if there is one.
// Leaves: on standard output "module" of package.json, or its "main", or index.ts, index.js or the like, or the only source file.
const fs = require("node:fs");

const project = fs.existsSync("package.json") ? JSON.parse(fs.readFileSync("package.json", "utf8")) : {};
const usual = ["index", "server", "main", "app"].flatMap((name) => [`${name}.ts`, `${name}.tsx`, `${name}.js`]);
const sources = fs.readdirSync(".").filter((name) => /\.[jt]sx?$/.test(name) && !/\.d\.ts$|[._](test|spec)\./.test(name));
const only = sources.length === 1 ? sources[0] : "index.js";
console.log(project.module ?? project.main ?? usual.find((name) => fs.existsSync(name)) ?? only);

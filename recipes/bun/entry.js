// Tells the file that a Bun app starts with.
// Given: package.json in the work folder.
// Leaves: on standard output "module" of package.json, or its "main", or index.ts, or index.js.
const fs = require("node:fs");

const { module: start, main } = JSON.parse(fs.readFileSync("package.json", "utf8"));
console.log(start ?? main ?? (fs.existsSync("index.ts") ? "index.ts" : "index.js"));

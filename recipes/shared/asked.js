// Tells which version of a package manager a project asks for in package.json.
// Given: the package manager's name; `engines`, where that is looked at, too. package.json in the work folder.
// Leaves: on standard output the version of "packageManager", a space and the checksum there, if any, as sha512:HEX;
// nothing when the project asks for none.
const fs = require("node:fs");

const [name, also] = process.argv.slice(2);
const project = fs.existsSync("package.json") ? JSON.parse(fs.readFileSync("package.json", "utf8")) : {};
const { engines, packageManager } = project;
const [, asked, algorithm, digest] =
  new RegExp(`^${name}@([^+]+)(?:[+](sha[0-9]+)[.]([0-9a-f]+))?`).exec(packageManager ?? "") ?? [];
const version = asked ?? (also === "engines" ? engines?.[name] : undefined);
if (version) console.log(`${version} ${algorithm ? `${algorithm}:${digest}` : ""}`);

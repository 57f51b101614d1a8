// Writes the file that Deno reads in the image: with the task `start` that is run there, and so that nothing is fetched then.
// Given: the app as the work folder. deno.jsonc has comments, which JavaScript reads and JSON does not allow.
// Leaves: deno.json or deno.jsonc, whichever there is, or else deno.json.
const there = (name) => { try { return Deno.statSync(name).isFile; } catch { return false; } };
const name = ["deno.json", "deno.jsonc"].find(there) ?? "deno.json";
const config = there(name) ? (0, eval)("(" + Deno.readTextFileSync(name) + ")") : {};
const usual = ["main.ts", "mod.ts", "server.ts", "app.ts", "index.ts"].find(there);
const isSource = ({ name, isFile }) => isFile && /\.tsx?$/.test(name) && !/\.d\.ts$|\.config\.ts$|[._](test|spec)\.tsx?$/.test(name);
const sources = [...Deno.readDirSync(".")].filter(isSource).map(({ name }) => name);
const entry = usual ?? (sources.length === 1 ? sources[0] : undefined);
if (!config.tasks?.start && !entry && !there("Procfile")) {
    console.error("expected a task start in deno.json, main.ts or a Procfile, found none");
    Deno.exit(1);
}
const tasks = entry ? { start: `deno run --allow-all ${entry}`, ...config.tasks } : config.tasks;
Deno.writeTextFileSync(name, JSON.stringify({ ...config, tasks, nodeModulesDir: "manual", vendor: true }, null, 2));

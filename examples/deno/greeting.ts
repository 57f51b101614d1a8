import { Hono } from "hono";

/** The name that /etc/passwd has for whom this process belongs to. */
function user(): string {
  const uid = String(Deno.uid());
  const lines = Deno.readTextFileSync("/etc/passwd").split("\n").map((line) => line.split(":"));
  return lines.find((fields) => fields[2] === uid)?.[0] ?? uid;
}

export const app = new Hono();

app.get("/", (context) =>
  context.json({
    message: `Hello, ${Deno.env.get("NAME") ?? "world"}!`,
    deno: Deno.version.deno,
    user: user(),
  }));

app.get("/healthz", (context) => context.body(null, 204));

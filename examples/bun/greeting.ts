import { readFileSync } from "node:fs";
import { Hono } from "hono";

/** The name that /etc/passwd has for whom this process belongs to. */
function user(): string {
  const uid = String(process.getuid?.());
  const lines = readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":"));
  return lines.find((fields) => fields[2] === uid)?.[0] ?? uid;
}

export const app = new Hono();

app.get("/", (context) =>
  context.json({
    message: `Hello, ${process.env.NAME ?? "world"}!`,
    bun: Bun.version,
    user: user(),
  }),
);

app.get("/healthz", (context) => context.body(null, 204));

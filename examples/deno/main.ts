import { app } from "./greeting.ts";

const server = Deno.serve({ port: Number(Deno.env.get("PORT") ?? 8080) }, app.fetch);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, async () => {
    await server.shutdown();
    Deno.exit();
  });
}

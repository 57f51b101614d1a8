import { app } from "./greeting";

const server = Bun.serve({ port: Number(process.env.PORT ?? 8080), fetch: app.fetch });
console.log(`listening on port ${server.port}`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, async () => {
    await server.stop();
    process.exit();
  });
}

import { app } from "./greeting.ts";

Deno.test("greets", async () => {
  Deno.env.set("NAME", "Ada");
  const answer = await (await app.request("/")).json();
  if (answer.message !== "Hello, Ada!") throw new Error(`expected a greeting, found ${answer.message}`);
});

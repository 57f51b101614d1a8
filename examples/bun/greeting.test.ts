import { expect, test } from "bun:test";
import { app } from "./greeting";

test("greets", async () => {
  process.env.NAME = "Ada";
  const answer = await (await app.request("/")).json();
  expect(answer.message).toBe("Hello, Ada!");
});

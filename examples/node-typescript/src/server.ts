import { createServer } from "node:http";
import { userInfo } from "node:os";
import ms from "ms";

const name: string = process.env.NAME ?? "world";
const server = createServer((_request, response) => {
  const answer = { message: `Hello, ${name}!`, user: userInfo().username, day: ms("1d") };
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(answer));
});
server.listen(Number(process.env.PORT ?? 8080));
process.on("SIGTERM", () => server.close());

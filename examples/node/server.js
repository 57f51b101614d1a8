'use strict';

const http = require('node:http');
const os = require('node:os');

const port = Number(process.env.PORT ?? 8080);
const name = process.env.NAME ?? 'world';

const server = http.createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (pathname === '/healthz') {
    response.writeHead(204).end();
    return;
  }
  if (pathname !== '/') {
    response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end('not found\n');
    return;
  }
  const body = {
    message: `Hello, ${name}!`,
    node: process.version,
    user: os.userInfo().username,
    time: new Date().toLocaleString('en-GB', { timeZone: process.env.TZ ?? 'UTC' }),
  };
  response.writeHead(200, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
});

server.listen(port, () => console.log(`listening on port ${server.address().port}`));

// The first process of a container gets no signal handler from the kernel: without one, `docker stop` would wait and kill.
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => server.close(() => process.exit(0)));
}

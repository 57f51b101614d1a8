import os from 'node:os';
import { crc32 } from '@node-rs/crc32';
import compression from 'compression';
import cors from 'cors';
import dayjs from 'dayjs';
import express from 'express';
import helmet from 'helmet';
import { capitalize } from 'lodash-es';
import { marked } from 'marked';
import morgan from 'morgan';
import ms from 'ms';
import { nanoid } from 'nanoid';
import semver from 'semver';
import { z } from 'zod';

const settings = z
  .object({ PORT: z.coerce.number().int().min(0).max(65535).default(8080), NAME: z.string().default('world') })
  .parse(process.env);

export const app = express();
app.use(helmet(), cors(), compression(), morgan('tiny'));

app.get('/healthz', (request, response) => response.sendStatus(204));

app.get('/', (request, response) => {
  const message = `${capitalize('hello')}, ${settings.NAME}!`;
  response.json({
    message,
    checksum: crc32(message),
    id: nanoid(),
    node: process.version,
    major: semver.major(process.version),
    user: os.userInfo().username,
    day: dayjs().format('YYYY-MM-DD'),
    up: ms(Math.round(process.uptime() * 1000)),
  });
});

app.get('/about', (request, response) => response.send(marked.parse('# hello-deps\n\nA *small* image.')));

if (import.meta.url === `file://${process.argv[1]}`) {
  const server = app.listen(settings.PORT, () => console.log(`listening on port ${server.address().port}`));
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => server.close(() => process.exit(0)));
  }
}

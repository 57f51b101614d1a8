import "reflect-metadata";
import { Controller, Get, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";

@Controller()
class Greeting {
  @Get()
  greet() {
    return { message: `Hello, ${process.env.NAME ?? "world"}!` };
  }
}

@Module({ controllers: [Greeting] })
class App {}

async function main() {
  const app = await NestFactory.create(App);
  app.enableShutdownHooks();
  await app.listen(process.env.PORT ?? 3000);
}

void main();

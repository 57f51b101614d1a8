<?php

declare(strict_types=1);

// Debian's package; Composer's would be there by vendor/autoload.php.
require_once 'FastRoute/autoload.php';

use FastRoute\Dispatcher;
use FastRoute\RouteCollector;

/** @return array{int, ?array<string, string>} the status and the body of the answer to a request */
function answer(string $method, string $path): array
{
    $routes = FastRoute\simpleDispatcher(function (RouteCollector $routes): void {
        $routes->get('/healthz', fn (): array => [204, null]);
        $routes->get('/', fn (): array => [200, [
            'message' => sprintf('Hello, %s!', getenv('NAME') ?: 'world'),
            'php' => PHP_VERSION,
            'user' => posix_getpwuid(posix_getuid())['name'],
        ]]);
    });
    [$found, $handler] = $routes->dispatch($method, $path) + [1 => null];

    return match ($found) {
        Dispatcher::FOUND => $handler(),
        Dispatcher::METHOD_NOT_ALLOWED => [405, ['error' => 'method not allowed']],
        default => [404, ['error' => 'not found']],
    };
}

<?php

declare(strict_types=1);

return [
    '/' => fn (): array => [
        'message' => sprintf('Hello, %s!', getenv('NAME') ?: 'world'),
        'user' => posix_getpwuid(posix_getuid())['name'],
        'server' => PHP_SAPI,
    ],
    '/count' => function (): array {
        session_start();
        $_SESSION['count'] = ($_SESSION['count'] ?? 0) + 1;
        $database = new PDO('sqlite::memory:');
        return ['count' => $_SESSION['count'], 'sqlite' => $database->query('SELECT sqlite_version()')->fetchColumn()];
    },
];

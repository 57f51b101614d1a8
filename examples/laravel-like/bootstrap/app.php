<?php

declare(strict_types=1);

// As Laravel does on its first request: a list of packages, written where the image says.
$list = getenv('APP_PACKAGES_CACHE') ?: __DIR__ . '/cache/packages.php';
if (!is_file($list) && file_put_contents($list, "<?php return [];\n") === false) {
    throw new RuntimeException("$list must be writable");
}
$routes = require __DIR__ . '/../routes/web.php';
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$route = $routes[$path] ?? null;
http_response_code($route ? 200 : 404);
header('Content-Type: application/json');
echo json_encode($route ? $route() : ['error' => 'not found']), "\n";

<?php

declare(strict_types=1);

require __DIR__ . '/app.php';

const REASONS = [200 => 'OK', 204 => 'No Content', 400 => 'Bad Request', 404 => 'Not Found', 405 => 'Method Not Allowed'];
/** Seconds that a client may take for a request. */
const PATIENCE = 5;
/** The longest line of a request. */
const LINE = 8192;

/** Reads one request, without its body: its method and path, or null when it is none. */
function request($client): ?array
{
    stream_set_timeout($client, PATIENCE);
    $first = fgets($client, LINE);
    if ($first === false || !preg_match('~^([A-Z]+) (/[^ ?]*)\S* HTTP/1\.[01]\r?\n$~', $first, $words)) {
        return null;
    }
    for ($headers = 0; $headers < 100; $headers++) {
        $line = fgets($client, LINE);
        if ($line === false || rtrim($line, "\r\n") === '') {
            return [$words[1], rawurldecode($words[2])];
        }
    }

    return null;
}

function respond($client): void
{
    $request = request($client);
    [$status, $body] = $request === null ? [400, ['error' => 'bad request']] : answer(...$request);
    $content = $body === null ? '' : json_encode($body, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES) . "\n";
    $head = sprintf("HTTP/1.1 %d %s\r\nConnection: close\r\n", $status, REASONS[$status]);
    if ($body !== null) {
        $head .= sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", strlen($content));
    }
    fwrite($client, "$head\r\n$content");
    fclose($client);
}

$port = (int) (getenv('PORT') ?: 8080);
$server = stream_socket_server("tcp://0.0.0.0:$port", $code, $message);
if ($server === false) {
    fwrite(STDERR, "cannot listen on port $port: $message\n");
    exit(1);
}
echo "listening on port $port\n";

// The first process of a container gets no signal handler from the kernel: without one, `docker stop` would wait and kill.
pcntl_async_signals(true);
foreach ([SIGINT, SIGTERM] as $signal) {
    pcntl_signal($signal, fn () => exit(0));
}
while (true) {
    $client = @stream_socket_accept($server, 1);
    if ($client !== false) {
        respond($client);
    }
}

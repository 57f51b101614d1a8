<?php

declare(strict_types=1);

require __DIR__ . '/app.php';

putenv('NAME=Ada');
$checks = [
    'greets' => answer('GET', '/')[1]['message'] === 'Hello, Ada!',
    'knows nothing else' => answer('GET', '/nowhere')[0] === 404,
    'takes no POST' => answer('POST', '/')[0] === 405,
];
foreach ($checks as $name => $holds) {
    echo $holds ? 'ok' : 'not ok', " - $name\n";
}
exit(in_array(false, $checks, true) ? 1 : 0);

<?php

echo "at load\n";
$token = getenv('TOKEN');
$name = $_ENV['__OW_ACTION_NAME'];

function main(array $args): array
{
    global $token, $name;
    echo "at run\n";
    return ['token' => $token, 'name' => $name, 'arguments' => $args ?: new stdClass()];
}

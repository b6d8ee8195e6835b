<?php

function main(array $args): array
{
    $name = $args['name'] ?? 'world';
    echo "greeting $name\n";
    return ['greeting' => "Hello, $name!"];
}

<?php

function main(array $args): array
{
    $greeting = "Grüße, 世界 and {$args['name']}!";
    echo "$greeting\n";
    return ['greeting' => $greeting];
}

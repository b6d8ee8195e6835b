<?php

require 'lib/greet.php';

function main(array $args): array
{
    return ['greeting' => greet($args['name']), 'data' => trim(file_get_contents('data.txt'))];
}

<?php

function main(array $args): array
{
    return [1, 'two', ['three' => 3]];
}

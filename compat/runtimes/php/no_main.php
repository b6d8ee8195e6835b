<?php

function other(array $args): array
{
    return $args;
}

<?php

/** Does what `do` says; ../README.md lists the deeds. */
final class Kit
{
    private int $count = 0;

    public function count(): array
    {
        return ['count' => ++$this->count];
    }

    public function log(array $args): array
    {
        $streams = ['stdout' => STDOUT, 'stderr' => STDERR];
        foreach ($args['lines'] as [$stream, $text]) {
            fwrite($streams[$stream], "$text\n");
        }
        return [];
    }

    public function tail(array $args): array
    {
        echo $args['text'];
        return [];
    }

    public function flood(array $args): array
    {
        for ($i = 0; $i < $args['lines']; $i++) {
            echo str_repeat('x', $args['width']), "\n";
        }
        return ['lines' => $args['lines']];
    }

    public function env(array $args): array
    {
        $values = array_map(fn($name) => ($value = getenv($name)) === false ? null : $value, $args['names']);
        return array_combine($args['names'], $values);
    }

    public function make(array $args): array
    {
        return ['text' => str_repeat('x', $args['bytes'])];
    }

    public function throw(): array
    {
        throw new RuntimeException('boom');
    }

    public function exit(): never
    {
        echo "before the exit\n";
        exit(3);
    }

    public function hang(): never
    {
        echo "before the wait\n";
        for (;;) {
            sleep(3600);
        }
    }

    public function hog(): never
    {
        $kept = [];
        for (;;) {
            $kept[] = str_repeat('1', 1 << 20);
        }
    }

    public function number(): int
    {
        return 5;
    }

    public function text(): string
    {
        return 'five';
    }

    public function nothing(): void
    {
    }

    public function list(): array
    {
        return [1, 'two', ['three' => 3]];
    }

    public function error(array $args): array
    {
        return ['error' => $args['error']];
    }

    public function read(array $args): array
    {
        return ['text' => file_get_contents($args['path'])];
    }

    public function write(array $args): array
    {
        return ['wrote' => @file_put_contents($args['path'], $args['text']) !== false];
    }

    public function stdin(): array
    {
        return ['stdin' => file_get_contents('php://stdin')];
    }
}

$kit = new Kit();

function main(array $args)
{
    global $kit;
    return $kit->{$args['do']}($args);
}

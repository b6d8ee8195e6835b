<?php

/**
 * Loads one PHP action and runs it as often as it is told to.
 *
 * The server speaks to it in lines, as `runtimes/README.md` says: orders come
 * on standard input, frames go out on file descriptor 3. One order is one line,
 * one answer is one write, and whatever user code prints is framed and written
 * at that moment, so that nothing is lost when the process dies in the next.
 *
 * User code is loaded at the end of this file, outside of any function, since
 * its variables have to be global ones. Of ours there is one, `$__launcher`.
 *
 * It refuses to guess: an order that it cannot read ends the process, or the
 * run when the order says which one it is. It sets no limits of its own on time,
 * memory or sizes, since the sandbox around it does, and it is no wall: user
 * code runs beside it and could reach it.
 */

/** Initialisation failed, for the reason given; details are in the log. */
final class __Refusal extends Exception
{
}

/** Takes the lines of a stream that user code has open: `STDOUT` or `STDERR`. */
final class __Filter extends php_user_filter
{
    public function filter($in, $out, &$consumed, bool $closing): int
    {
        while ($bucket = stream_bucket_make_writeable($in)) {
            $consumed += $bucket->datalen;
            if ($this->params[0]->prints($this->params[1], $bucket->data)) {
                continue;
            }
            stream_bucket_append($out, $bucket);
        }
        return PSFS_PASS_ON;
    }
}

final class __Launcher
{
    /** Longest log line; OpenWhisk's log driver splits longer ones as well. */
    private const LINE_BYTES = 16384;
    /** Deepest argument and result. */
    private const NESTING = 1000;
    /** Exit status after an order that cannot be obeyed: EX_SOFTWARE. */
    private const BROKEN = 70;

    private const NO_CODE = 'Missing main/no code to execute.';
    private const NOT_BUILT = 'The action failed to generate or locate a binary. See logs for details.';
    private const NOT_STARTED = 'Cannot start action. Check logs for details.';
    private const NOT_A_RESULT = 'The action did not return a dictionary or array.';

    private const AS_JSON = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_LINE_TERMINATORS
        | JSON_PRESERVE_ZERO_FRACTION | JSON_INVALID_UTF8_SUBSTITUTE;

    /** Where orders come from, and where frames go. */
    private $orders;
    private $frames;
    /** What user code finds at descriptor 0. */
    private $input;
    /** A forked child has another one. */
    private int $process;
    /** Whose lines are printed now. */
    private string $activation;
    /** What comes after the last line end, by stream. */
    private array $tails = ['O' => '', 'E' => ''];
    private array $exported = [];
    private bool $begun = false;
    /** An answer is due: to `I`, or to a run, `F ID`. */
    private ?string $due = null;
    private $action = null;

    /** Only once: the file to load, when an initialisation names one. */
    public ?string $file = null;
    private ?string $main = null;
    private bool $temporary = false;

    public function __construct()
    {
        ini_set('memory_limit', '-1');
        ini_set('display_errors', '0');
        ini_set('log_errors', '0');
        error_reporting(E_ALL);
        $this->process = getmypid();
        $this->activation = str_repeat('0', 32);
        $this->orders = fopen('php://fd/0', 'rb');
        $this->frames = fopen('php://fd/3', 'wb');
        // The lowest free descriptor is the one that is closed here: user code
        // that reads standard input, or a child, must not eat orders. Of PHP's
        // constants STDIN is closed by that.
        fclose(STDIN);
        $this->input = fopen('/dev/null', 'rb');
        stream_filter_register('whisker.frames', __Filter::class);
        stream_filter_append(STDOUT, 'whisker.frames', STREAM_FILTER_WRITE, [$this, 'O']);
        stream_filter_append(STDERR, 'whisker.frames', STREAM_FILTER_WRITE, [$this, 'E']);
        $print = fn(string $text) => $this->prints('O', $text) ? '' : $text;
        // Zero: user code can neither end nor clean it.
        ob_start($print, 1, 0);
        set_error_handler(fn(...$error) => $this->warn(...$error));
        register_shutdown_function(fn() => $this->shutDown());
    }

    /** Takes what user code prints, unless it is a forked child's. */
    public function prints(string $stream, string $text): bool
    {
        if (getmypid() !== $this->process) {
            return false;
        }
        $lines = explode("\n", $this->tails[$stream] . $text);
        $tail = array_pop($lines);
        if (strlen($tail) > self::LINE_BYTES) {
            $parts = self::pieces($tail);
            $tail = array_pop($parts);
            array_push($lines, ...$parts);
        }
        $this->tails[$stream] = $tail;
        if ($lines !== []) {
            $this->send($this->lines($stream, $lines));
        }
        return true;
    }

    private function lines(string $stream, array $lines): string
    {
        $head = "$stream $this->activation " . (int) (microtime(true) * 1e6) . ' ';
        $out = '';
        foreach ($lines as $line) {
            foreach (strlen($line) > self::LINE_BYTES ? self::pieces($line) : [$line] as $piece) {
                $out .= "$head$piece\n";
            }
        }
        return $out;
    }

    /** Cuts a line into pieces of LINE_BYTES, never inside a character. */
    private static function pieces(string $line): array
    {
        $parts = [];
        for ($start = 0, $length = strlen($line); $start < $length; $start = $end) {
            $end = min($start + self::LINE_BYTES, $length);
            while ($end > $start && $end < $length && (ord($line[$end]) & 0xC0) === 0x80) {
                $end--;
            }
            if ($end === $start) {
                $end = $start + self::LINE_BYTES; // not UTF-8 at all
            }
            $parts[] = substr($line, $start, $end - $start);
        }
        return $parts;
    }

    /** Writes frames, all of them, before it returns. */
    private function send(string $frames): void
    {
        while ($frames !== '') {
            $written = @fwrite($this->frames, $frames);
            if ($written === false) {
                $this->broken('cannot write frames');
            }
            if ($written === 0) {
                $none = null;
                $full = [$this->frames];
                stream_select($none, $full, $none, null);
            }
            $frames = substr($frames, $written);
        }
    }

    /** Sends an answer, after the lines that were left unfinished. */
    private function answer(string $frame): void
    {
        $this->due = null;
        $this->send($this->rest() . "$frame\n");
    }

    private function rest(): string
    {
        $out = '';
        foreach ($this->tails as $stream => $tail) {
            if ($tail !== '') {
                $out .= $this->lines($stream, [$tail]);
                $this->tails[$stream] = '';
            }
        }
        return $out;
    }

    /** Warnings and notices go to standard error, in the words of PHP itself. */
    private function warn(int $level, string $message, string $file, int $line): bool
    {
        if (error_reporting() & $level) {
            $kinds = [
                E_WARNING => 'Warning', E_USER_WARNING => 'Warning', E_NOTICE => 'Notice', E_USER_NOTICE => 'Notice',
                E_DEPRECATED => 'Deprecated', E_USER_DEPRECATED => 'Deprecated', E_USER_ERROR => 'Fatal error',
            ];
            $kind = $kinds[$level] ?? 'Warning';
            $this->prints('E', "PHP $kind:  $message in $file on line $line\n");
        }
        // A fatal error of the user's own ends the process, as without us.
        return $level !== E_USER_ERROR;
    }

    /** What no handler can catch: tells it, and gives the answer that is due. */
    private function shutDown(): void
    {
        if (getmypid() !== $this->process) {
            return;
        }
        $error = error_get_last();
        $fatal = E_ERROR | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR;
        if ($error !== null && $error['type'] & $fatal) {
            $this->prints('E', "PHP Fatal error:  {$error['message']} in {$error['file']} on line {$error['line']}\n");
            if ($this->due !== null) {
                $words = $this->due === 'I' ? self::NOT_STARTED : self::NOT_A_RESULT;
                $this->answer("$this->due " . self::error($words));
            }
        }
        $this->forget();
        $this->send($this->rest());
    }

    // ---- initialisation ------------------------------------------------------

    private function initialise(array $init): void
    {
        if ($this->begun) {
            $this->send('I ' . self::error('Cannot initialize the action more than once.') . "\n");
            return;
        }
        $this->begun = true;
        $this->activation = $init['activation'];
        $this->due = 'I';
        try {
            $this->place($init);
        } catch (__Refusal $refusal) {
            $this->answer('I ' . self::error($refusal->getMessage()));
        }
    }

    /** Leaves in `file` what is to be loaded. */
    private function place(array $init): void
    {
        ['main' => $main, 'code' => $code, 'folder' => $folder] = $init + ['code' => null, 'folder' => null];
        if (($main ?? '') === '' || (($code ?? '') === '' && $folder === null)) {
            throw new __Refusal(self::NO_CODE);
        }
        foreach ($init['env'] ?? [] as $name => $value) {
            $this->setVariable((string) $name, self::text($value));
        }
        $this->main = $main;
        $modules = getenv('PHP_MODULES');
        if (is_string($modules) && is_dir($modules)) {
            set_include_path(get_include_path() . PATH_SEPARATOR . $modules);
        }
        if ($folder !== null) {
            chdir($folder);
            // `exec` is where the server puts what is no archive.
            foreach (['exec', 'index.php'] as $name) {
                if (is_file("$folder/$name")) {
                    $this->file = "$folder/$name";
                    break;
                }
            }
            if ($this->file === null) {
                $this->prints('E', "Zip file does not include index.php\n");
                throw new __Refusal(self::NOT_BUILT);
            }
        } else {
            $this->file = tempnam(sys_get_temp_dir(), 'action');
            $this->temporary = true;
            file_put_contents($this->file, $code);
        }
        $vendors = array_filter([$folder, $modules], fn($place) => is_string($place) && is_file("$place/vendor/autoload.php"));
        foreach (array_slice($vendors, 0, 1) as $place) {
            try {
                require "$place/vendor/autoload.php";
            } catch (Throwable $error) {
                $this->loaded($error);
            }
        }
    }

    /** The file was loaded, or not. */
    public function loaded(?Throwable $error): void
    {
        $this->forget();
        if ($this->due === null) {
            return;
        }
        if ($error === null && !is_callable($this->main)) {
            $this->prints('E', "PHP Fatal error:  Call to undefined function $this->main()\n");
            $this->answer('I ' . self::error(self::NOT_STARTED));
        } elseif ($error !== null) {
            $this->show($error);
            $this->answer('I ' . self::error($error instanceof ParseError ? self::NOT_BUILT : self::NOT_STARTED));
        } else {
            $this->action = $this->main;
            $this->answer('I {"ok":true}');
        }
    }

    /** The file of code that came as text has served. */
    private function forget(): void
    {
        if ($this->temporary) {
            @unlink($this->file);
            $this->temporary = false;
        }
        $this->file = null;
    }

    private function setVariable(string $name, string $value): void
    {
        if ($name === '' || strpbrk($name, "=\0") !== false || str_contains($value, "\0")) {
            $this->prints('E', "'$name' cannot be the name of an environment variable\n");
            return;
        }
        $_ENV[$name] = $value;
        putenv("$name=$value");
    }

    private static function text(mixed $value): string
    {
        return is_string($value) ? $value : ($value === null ? '' : json_encode($value, self::AS_JSON));
    }

    private function show(Throwable $error): void
    {
        try {
            $text = (string) $error;
        } catch (Throwable) {
            $text = get_class($error);
        }
        // What called user code is none of the user's lines.
        $text = preg_replace('/^#\d+ ' . preg_quote(__FILE__, '/') . '.*\n/m', '', $text);
        $count = 0;
        $text = preg_replace_callback('/^#\d+ /m', function () use (&$count) {
            return '#' . $count++ . ' ';
        }, $text);
        $this->prints('E', "$text\n");
    }

    // ---- runs ------------------------------------------------------------------

    private function run(array $order, string $activation): void
    {
        $this->activation = $activation;
        if ($this->action === null) {
            $this->answer("F $activation " . self::error('System not initialized.'));
            return;
        }
        $this->export($order);
        $this->due = "F $activation";
        try {
            $result = ($this->action)($order['value'] ?? []);
            if (getmypid() !== $this->process) {
                // A forked child came back from the user's function.
                exit(0);
            }
            $text = $this->json($result);
        } catch (Throwable $error) {
            $this->show($error);
            $text = null;
        }
        $this->answer($text === null ? "F $activation " . self::error(self::NOT_A_RESULT) : "R $activation $text");
    }

    /** A result as JSON; null, and a line in the log, if it is none. */
    private function json(mixed $result): ?string
    {
        if (is_object($result)) {
            $result = method_exists($result, 'getArrayCopy') ? $result->getArrayCopy() : ($result instanceof stdClass ? (array) $result : $result);
        }
        if (!is_array($result ?? [])) {
            $this->prints('E', 'Result must be an array but has type "' . gettype($result) . "\"\n");
            return null;
        }
        // PHP does not tell an empty list from an empty dictionary.
        $text = json_encode($result ?: new stdClass(), self::AS_JSON, self::NESTING);
        if ($text === false) {
            $this->prints('E', 'Result has no JSON: ' . json_last_error_msg() . "\n");
            return null;
        }
        return $text;
    }

    private static function error(string $words): string
    {
        return json_encode(['error' => $words], self::AS_JSON);
    }

    /** Sets `__OW_*`. Most of them never change. */
    private function export(array $order): void
    {
        foreach ($order as $key => $value) {
            if ($key !== 'value' && ($this->exported[$key] ?? null) !== $value) {
                $this->exported[$key] = $value;
                $this->setVariable('__OW_' . strtoupper($key), self::text($value));
            }
        }
    }

    // ---- orders ----------------------------------------------------------------

    /** Takes orders until one names a file to load, or there are no more. */
    public function serve(): void
    {
        while ($this->file === null) {
            $line = fgets($this->orders);
            if ($line === false) {
                exit(0);
            }
            $order = $this->read($line);
            if ($order === null) {
                continue;
            }
            if (is_string($order['activation_id'] ?? null)) {
                $this->run($order, $order['activation_id']);
            } elseif (is_array($order['init'] ?? null)) {
                $this->initialise($order['init']);
            } else {
                $this->broken('an order is neither an initialisation nor a run');
            }
        }
    }

    private function read(string $line): ?array
    {
        $order = json_decode($line, true, self::NESTING);
        if ($order === null && json_last_error() === JSON_ERROR_UTF16) {
            // Half of a surrogate pair is no character.
            $half = '/\\\\\\\\|\\\\ud[89ab]..\\\\ud[c-f]..|\\\\u(d[89a-f]..)/i';
            $line = preg_replace_callback($half, fn($found) => isset($found[1]) ? '\ufffd' : $found[0], $line);
            $order = json_decode($line, true, self::NESTING);
        }
        if (is_array($order) && !array_is_list($order)) {
            return $order;
        }
        // The server writes the value before the activation's id.
        $ids = [];
        if (json_last_error() === JSON_ERROR_NONE || !preg_match('/.*"activation_id"\s*:\s*"([0-9a-f]{32})"/s', substr($line, -4096), $ids)) {
            // Never show the line: it may hold the user's secrets.
            $this->broken('an order of ' . strlen($line) . ' bytes cannot be read (' . json_last_error_msg() . ')');
        }
        $this->activation = $ids[1];
        $this->prints('E', 'The argument cannot be read: ' . json_last_error_msg() . "\n");
        $this->answer("F $ids[1] " . self::error('Internal system error: the argument cannot be read.'));
        return null;
    }

    /** Says why on the real standard error, and ends. */
    private function broken(string $why): never
    {
        file_put_contents('php://fd/2', "launcher: $why\n");
        exit(self::BROKEN);
    }
}

if (!function_exists('error_log')) {
    /** PHP's own would write past the launcher; `disable_functions` makes room. */
    function error_log(string $message, int $type = 0, ?string $destination = null, ?string $headers = null): bool
    {
        return match ($type) {
            1 => mail((string) $destination, 'PHP error_log message', $message, (string) $headers),
            3 => file_put_contents((string) $destination, $message, FILE_APPEND) !== false,
            default => fwrite(STDERR, "$message\n") !== false,
        };
    }
}

$__launcher = new __Launcher();
$__launcher->serve();
try {
    require $__launcher->file;
    $__launcher->loaded(null);
} catch (Throwable $__error) {
    $__launcher->loaded($__error);
}
unset($__error);
$__launcher->serve();

# Runs one executable for each activation, as OpenWhisk's Docker skeleton does:
# any program or script that takes its argument from the command line and leaves
# its result in the last line that it prints.
#
# The server speaks to it in lines, as `runtimes/README.md` says: orders come on
# standard input, frames go out on file descriptor 3.
#
# Why Perl: a part of it (`perl-base`, all that is used here) is on every Debian,
# it is ready to run after five milliseconds, and it starts programs without
# anything in between. Arguments are passed on as they were written; of results
# it only has to know whether they are JSON.
#
# The two streams of a program are two pipes, so the order of lines holds within
# each of them, and between them as far as they were read. It refuses to guess:
# an order that it cannot read ends the process. It sets no limits of its own on
# time, memory or sizes, since the sandbox around it does.

use strict;
use warnings;

# Linux's numbers, the same on x86-64 and 64-bit ARM. The modules that know them
# (Errno, Fcntl, POSIX) take five times as long to load as the rest does.
use constant { EINTR => 4, EAGAIN => 11 };
use constant { F_GETFD => 1, F_SETFD => 2, F_GETFL => 3, F_SETFL => 4, FD_CLOEXEC => 1, O_NONBLOCK => 2048 };
use constant { WNOHANG => 1, SIGKILL => 9 };
# What a program for 64-bit ARM has in its head, as its machine.
use constant AARCH64 => 0xB7;
# What this interpreter was made for.
sub machine {
    open my $self, '<:raw', '/proc/self/exe' or return 0;
    my $read = sysread $self, my $head, 20;
    return $read ? unpack 'x18 v', $head : 0;
}

# Longest log line; OpenWhisk's log driver splits longer ones as well.
use constant LINE_BYTES => 16384;
# Longest argument that Linux takes on a command line, with its end.
use constant ARGUMENT_BYTES => 131_072;
# As much is read at once.
use constant READ_BYTES => 65536;
# The system call that reads a clock; the module for it is not part of perl-base.
use constant CLOCK_GETTIME => machine() == AARCH64 ? 113 : 228;
# Exit status after an order that cannot be obeyed: EX_SOFTWARE.
use constant BROKEN => 70;
# Seconds between two looks after programs that ended and left their streams
# open, to children of theirs.
use constant LOOK => 0.2;

use constant NO_CODE      => 'Missing main/no code to execute.';
use constant NOT_BUILT    => 'The action failed to generate or locate a binary. See logs for details.';
use constant NOT_A_RESULT => 'The action did not return a dictionary or array.';

my ($orders, $frames);
# The program, once there is one, and the folder that it runs in; the same
# folder, if it was made here.
my ($program, $home, $own);
my $begun = 0;
# Variables of all runs, and runs under way by process.
my (%environment, %runs);

# ---- frames ---------------------------------------------------------------------

# Writes frames, all of them, before it returns.
sub send_frames {
    my ($data) = @_;
    while (length $data) {
        my $written = syswrite $frames, $data;
        if (defined $written) {
            substr $data, 0, $written, '';
        } elsif ($! == EAGAIN) {
            my $full = '';
            vec($full, fileno $frames, 1) = 1;
            select undef, $full, undef, undef;
        } elsif ($! != EINTR) {
            broken("cannot write frames: $!");
        }
    }
}

# A line of output as frames.
sub framed {
    my ($stream, $id, $line) = @_;
    my $head = "$stream $id " . micros() . ' ';
    return join '', map { "$head$_\n" } pieces($line);
}

# Cuts a line into pieces of LINE_BYTES, never inside a character.
sub pieces {
    my ($line) = @_;
    my @pieces;
    while (length $line > LINE_BYTES) {
        my $end = LINE_BYTES;
        $end-- while $end > LINE_BYTES - 4 && (ord(substr $line, $end, 1) & 0xC0) == 0x80;
        $end = LINE_BYTES if (ord(substr $line, $end, 1) & 0xC0) == 0x80; # not UTF-8 at all
        push @pieces, substr $line, 0, $end, '';
    }
    return @pieces, $line;
}

# Microseconds since the Unix epoch.
sub micros {
    my $time = pack 'qq', 0, 0;
    syscall CLOCK_GETTIME, 0, $time;
    my ($seconds, $nanos) = unpack 'qq', $time;
    return $seconds * 1_000_000 + int($nanos / 1000);
}

sub failed {
    my ($words) = @_;
    $words =~ s/(["\\])/\\$1/g;
    return qq({"error":"$words"});
}

# Says why on the real standard error, and ends.
sub broken {
    my ($why) = @_;
    syswrite STDERR, "launcher: $why\n";
    exit(BROKEN);
}

# ---- JSON, as far as it is needed --------------------------------------------------

# Moves on from `pos` over one value; whether there was one.
sub skip_value {
    my ($text) = @_;
    # What the open brackets wait for.
    my @open;
    while (1) {
        $$text =~ /\G[ \t\r\n]*/gc;
        if ($$text =~ /\G([\[\{])[ \t\r\n]*/gc) {
            my $end = $1 eq '{' ? '}' : ']';
            if ($$text !~ /\G\Q$end\E/gc) {
                push @open, $end;
                return 0 if $end eq '}' && !skip_name($text);
                next;
            }
        } elsif ($$text =~ /\G"/gc) {
            return 0 unless skip_string($text);
        } elsif ($$text !~ /\G(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null)/gc) {
            return 0;
        }
        # Behind a value: as many brackets as end here, or a comma.
        while (1) {
            return 1 unless @open;
            $$text =~ /\G[ \t\r\n]*/gc;
            if ($$text =~ /\G,/gc) {
                return 0 if $open[-1] eq '}' && !skip_name($text);
                last;
            }
            my $end = pop @open;
            return 0 unless $$text =~ /\G\Q$end\E/gc;
        }
    }
}

# The rest of a string, piece by piece: one pattern for all of it would have an
# end to how often it can repeat.
sub skip_string {
    my ($text) = @_;
    while (1) {
        $$text =~ /\G[^"\\\x00-\x1f]+/gc;
        return 1 if $$text =~ /\G"/gc;
        return 0 unless $$text =~ m{\G\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})}gc;
    }
}

# The name of a member, and its colon.
sub skip_name {
    my ($text) = @_;
    return $$text =~ /\G[ \t\r\n]*"/gc && skip_string($text) && $$text =~ /\G[ \t\r\n]*:/gc;
}

# Whether a text is an object or an array.
sub is_result {
    my ($text) = @_;
    return 0 unless $text =~ /^[\[\{]/ && utf8::decode(my $characters = $text);
    pos($text) = 0;
    return skip_value(\$text) && $text =~ /\G\s*\z/gc;
}

# The members of an object as they are written, by name; nothing if it is none.
sub members {
    my ($text) = @_;
    return unless $text =~ /\G\s*\{\s*/gc;
    my %members;
    until ($text =~ /\G\s*\}/gc) {
        $text =~ /\G\s*/gc;
        my $start = pos $text;
        return unless skip_name(\$text);
        my $name = substr $text, $start, pos($text) - $start;
        $name =~ s/\s*:\z//;
        $text =~ /\G\s*/gc;
        $start = pos $text;
        return unless skip_value(\$text);
        $members{as_text($name)} = substr $text, $start, pos($text) - $start;
        return unless $text =~ /\G\s*(?:,|(?=\}))/gc;
    }
    return \%members;
}

my %escapes = (b => "\b", f => "\f", n => "\n", r => "\r", t => "\t");

# A value as the text that a variable holds: a string's characters in UTF-8,
# nothing for null, anything else as it is written.
sub as_text {
    my ($json) = @_;
    return '' if !defined $json || $json eq 'null';
    return $json unless $json =~ s/^"(.*)"\z/$1/s;
    $json =~ s{\\u([dD][89abAB]..)\\u([dD][c-fC-F]..)|\\u(....)|\\(.)}{
        defined $4 ? $escapes{$4} // $4 : utf8_of(defined $3 ? hex $3 : 0x10000 + ((hex($1) & 0x3FF) << 10) + (hex($2) & 0x3FF))
    }ge;
    return $json;
}

# Half of a surrogate pair is no character.
sub utf8_of {
    my ($number) = @_;
    my $character = chr($number >= 0xD800 && $number <= 0xDFFF ? 0xFFFD : $number);
    utf8::encode($character);
    return $character;
}

# ---- initialisation ------------------------------------------------------------------

sub take_init {
    my ($init) = @_;
    my $id = as_text($init->{activation});
    my $refusal = $begun++ ? 'Cannot initialize the action more than once.' : load_action($init, $id);
    send_frames('I ' . ($refusal ? failed($refusal) : '{"ok":true}') . "\n");
}

# Finds the program; what is wrong, if something is.
sub load_action {
    my ($init, $id) = @_;
    my ($code, $folder) = map { as_text($init->{$_}) } qw(code folder);
    return NO_CODE if as_text($init->{main}) eq '' || ($code eq '' && $folder eq '');
    my $env = members($init->{env} // '{}') // {};
    for my $name (keys %$env) {
        my $value = as_text($env->{$name});
        if ($name eq '' || $name =~ /[=\0]/ || $value =~ /\0/) {
            send_frames(framed('E', $id, "'$name' cannot be the name of an environment variable"));
        } else {
            $environment{$name} = $value;
        }
    }
    if ($folder eq '') {
        # Outside of a sandbox /tmp is everybody's, and process ids come again.
        my $try = 0;
        $folder = "/tmp/action.$$." . $try++ until $folder ne '' && mkdir $folder or $try > 100;
        my $file;
        my $written = open($file, '>', "$folder/exec") && print($file $code) && close $file;
        if (!$written || !chmod 0755, "$folder/exec") {
            send_frames(framed('E', $id, "The action's code cannot be written to $folder/exec: $!"));
            return NOT_BUILT;
        }
    }
    if (!-f "$folder/exec" || !-x _) {
        send_frames(framed('E', $id, "There is no executable file 'exec'."));
        return NOT_BUILT;
    }
    ($program, $home) = ("$folder/exec", $folder);
    $own = $folder if ($init->{folder} // 'null') eq 'null';
    return;
}

# ---- runs ------------------------------------------------------------------------------

# Starts the program.
sub take_run {
    my ($value, $context) = @_;
    my $id = $context->{activation_id};
    return send_frames("F $id " . failed('System not initialized.') . "\n") unless defined $program;
    $value = '{}' if $value eq 'null';

    pipe my $input, my $to or broken("cannot make a pipe: $!");
    pipe my $out, my $output or broken("cannot make a pipe: $!");
    pipe my $err, my $errors or broken("cannot make a pipe: $!");
    my $pid = fork // broken("cannot fork: $!");
    if (!$pid) {
        chdir $home;
        # These keep their numbers.
        open STDIN, '<&', $input;
        open STDOUT, '>&', $output;
        open STDERR, '>&', $errors;
        $SIG{PIPE} = 'DEFAULT';
        %ENV = (%ENV, %environment, map { ("__OW_\U$_" => $context->{$_}) } keys %$context);
        no warnings 'exec';
        exec {$program} $program, length $value < ARGUMENT_BYTES ? $value : ();
        syswrite STDOUT, "$program cannot be started: $!\n";
        exit(127);
    }
    fcntl $_, F_SETFL, fcntl($_, F_GETFL, 0) | O_NONBLOCK for $to, $out, $err;
    $runs{$pid} = {
        id => $id,
        rest => $value,
        to => $to,
        # A last line that may be the result is kept until there is another.
        kept => undef,
        streams => { O => { pipe => $out, tail => '' }, E => { pipe => $err, tail => '' } },
    };
    feed($runs{$pid});
}

# Writes what is left of the argument.
sub feed {
    my ($run) = @_;
    while ($run->{to}) {
        my $written = length $run->{rest} ? syswrite $run->{to}, $run->{rest} : 0;
        if ($written) {
            substr $run->{rest}, 0, $written, '';
        } elsif (length $run->{rest} && !defined $written && $! == EINTR) {
            next;
        } elsif (length $run->{rest} && !defined $written && $! == EAGAIN) {
            return;
        } else {
            # All of it, or as much as the program wanted.
            close delete $run->{to};
        }
    }
}

# Reads what there is to read of a stream, and sends the lines.
sub listen_to {
    my ($run, $letter) = @_;
    my $stream = $run->{streams}{$letter};
    my $out = '';
    while ($stream->{pipe}) {
        my $known = length $stream->{tail};
        my $count = sysread $stream->{pipe}, $stream->{tail}, READ_BYTES, $known;
        if (!defined $count) {
            next if $! == EINTR;
            last if $! == EAGAIN;
        }
        if (!$count) {
            close delete $stream->{pipe};
            last;
        }
        my $start = 0;
        # Each byte is looked at once, however long a line is.
        while ((my $end = index $stream->{tail}, "\n", $known) >= 0) {
            $out .= line($run, $letter, substr $stream->{tail}, $start, $end - $start);
            $known = $start = $end + 1;
        }
        substr $stream->{tail}, 0, $start, '';
        # A long line waits for its end only if it may be the result.
        if (length $stream->{tail} > LINE_BYTES && ($letter eq 'E' || !may_be_result($stream->{tail}))) {
            my @full = pieces($stream->{tail});
            $stream->{tail} = pop @full;
            $out .= join '', map { framed($letter, $run->{id}, $_) } @full;
        }
        send_frames($out) if length $out > READ_BYTES;
        $out = '' if length $out > READ_BYTES;
    }
    send_frames($out);
}

# Not by a pattern, which would begin anew at every blank in between.
sub trim_end {
    my ($text) = @_;
    chop $$text while substr($$text, -1) =~ /^\s/;
}

# Looks at the beginning alone: after a match Perl copies the whole text when
# that is added to.
sub may_be_result {
    return substr($_[0], 0, 1024) =~ /^\s*[\[\{]/;
}

# Frames for a line that was read, or for the one that was kept before it.
sub line {
    my ($run, $letter, $line) = @_;
    return framed($letter, $run->{id}, $line) if $letter eq 'E';
    my $kept = $run->{kept};
    my $out = defined $kept ? framed('O', $run->{id}, $kept) : '';
    if (may_be_result($line)) {
        $run->{kept} = $line;
        return $out;
    }
    $run->{kept} = undef;
    return $out . framed('O', $run->{id}, $line);
}

# The program has ended: its last line is the result.
sub finish {
    my ($pid) = @_;
    my $run = delete $runs{$pid};
    listen_to($run, $_) for qw(O E);
    my ($id, $out) = ($run->{id}, '');
    for my $letter (qw(O E)) {
        my $tail = $run->{streams}{$letter}{tail};
        $out .= line($run, $letter, $tail) if length $tail;
    }
    my $result = $run->{kept} // '';
    $result =~ s/^\s+//;
    trim_end(\$result);
    if (($? & 127) == SIGKILL) {
        # For want of memory, most likely. The server knows, and asks for the
        # reason when the launcher is gone as well.
        send_frames($out);
        exit(128 + SIGKILL);
    }
    if (is_result($result)) {
        $out .= "R $id $result\n";
    } else {
        $out .= framed('O', $id, $run->{kept}) if defined $run->{kept};
        $out .= "F $id " . failed(NOT_A_RESULT) . "\n";
    }
    send_frames($out);
}

# ---- orders ------------------------------------------------------------------------------

# The argument as it was written, and the other members. The server writes the
# argument first and texts behind it: from the end on, all that is a text.
sub split_order {
    my ($line) = @_;
    return unless $line =~ /^\s*\{\s*"value"\s*:\s*/;
    my $start = $+[0];
    trim_end(\$line);
    return if chop $line ne '}';
    trim_end(\$line);
    my %context;
    while (substr($line, -1) eq '"') {
        my $at = length $line;
        do {
            $at = rindex $line, ',', $at - 1;
            return if $at < $start;
        } until substr($line, $at) =~ /^,\s*"([a-z_]+)"\s*:\s*("(?:[^"\\]|\\.)*")\z/;
        $context{$1} = as_text($2);
        substr $line, $at, length($line) - $at, '';
        trim_end(\$line);
    }
    return unless ($context{activation_id} // '') =~ /^[0-9a-f]{32}\z/;
    return (substr($line, $start), \%context);
}

sub obey {
    my ($line) = @_;
    if (my ($value, $context) = split_order($line)) {
        return take_run($value, $context);
    }
    # Never show the line: it may hold the user's secrets.
    my $order = members($line) // broken('an order of ' . length($line) . ' bytes cannot be read');
    my $init = members($order->{init} // '') // broken('an order is neither an initialisation nor a run');
    take_init($init);
}

# Moves the orders away from descriptor 0, which gets an empty input, and keeps
# them and the frames from the programs.
sub take_input {
    open $orders, '<&', \*STDIN or broken("cannot read orders: $!");
    open STDIN, '<', '/dev/null' or broken("cannot open /dev/null: $!");
    open $frames, '>&=', 3 or broken("cannot write frames: $!");
    fcntl $frames, F_SETFD, fcntl($frames, F_GETFD, 0) | FD_CLOEXEC;
    $SIG{PIPE} = 'IGNORE';
}

# Takes orders until there are no more, and looks after the programs.
sub serve {
    my $read = '';
    while (1) {
        my ($readable, $writable) = ('', '');
        vec($readable, fileno $orders, 1) = 1;
        for my $run (values %runs) {
            vec($writable, fileno $run->{to}, 1) = 1 if $run->{to};
            vec($readable, fileno $_->{pipe}, 1) = 1 for grep { $_->{pipe} } values %{ $run->{streams} };
        }
        my $ready = select $readable, $writable, undef, %runs ? LOOK : undef;
        if ($ready > 0) {
            for my $run (values %runs) {
                feed($run) if $run->{to} && vec $writable, fileno $run->{to}, 1;
                for my $letter (qw(O E)) {
                    my $pipe = $run->{streams}{$letter}{pipe};
                    listen_to($run, $letter) if $pipe && vec $readable, fileno $pipe, 1;
                }
            }
        }
        for my $pid (keys %runs) {
            my $open = grep { $_->{pipe} } values %{ $runs{$pid}{streams} };
            # With both streams at their end the program's is near. Children of
            # its own may keep them open, and are not waited for.
            finish($pid) if ($open == 0 || $ready == 0) && waitpid($pid, $open ? WNOHANG : 0) == $pid;
        }
        next unless $ready > 0 && vec $readable, fileno $orders, 1;
        my $from = length $read;
        my $count = sysread $orders, $read, READ_BYTES, $from;
        next if !defined $count && $! == EINTR;
        leave() unless $count;
        while ((my $end = index $read, "\n", $from) >= 0) {
            obey(substr $read, 0, $end + 1, '');
            $from = 0;
        }
    }
}

# Ends, whatever programs still do.
sub leave {
    unlink "$own/exec" and rmdir $own if defined $own;
    exit(0);
}

take_input();
serve();

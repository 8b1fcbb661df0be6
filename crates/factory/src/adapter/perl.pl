# What a perl runs to be a factory's template, given to it by `-e`, with the modules to load before as its arguments. A copy reads its job at
# descriptor 998, makes its random numbers its own, says so, and runs the job.
#
# Safety idea: nothing of a job is run before the seed was set and the factory was told so; whatever goes wrong before ends the copy untold.

{
    package Beget::Template;

    sub part {
        my ($job, $length, $all) = ($_[0], $_[1], '');
        while (length $all < $length) {
            sysread($job, $all, $length - length $all, length $all) or _exit();
        }
        $all;
    }

    # Nobody is told: that is the refusal.
    sub _exit { kill 'KILL', $$; sleep 1 while 1 }

    sub become {
        open(my $job, '+<&=', 998) or _exit();
        my @fields = split /\0/, part($job, unpack 'L', part($job, 4)), -1;
        my @arguments = splice @fields, 0, shift @fields;
        my %variables = map { split /=/, $_, 2 } splice @fields, 0, shift @fields;
        # Eight of its digits are all that a seed can be.
        srand(hex substr $fields[0], 0, 8);
        syswrite($job, '1') or _exit();
        close $job;
        %ENV = %variables;
        # What the streams are is looked at when they are opened.
        open(STDIN, '<&=', 0) unless defined fileno STDIN;
        open(STDOUT, '>&=', 1) if !defined fileno STDOUT or -t STDOUT;
        open(STDERR, '>&=', 2) unless defined fileno STDERR;
        @arguments;
    }

    # Text to run, as it would stand in a file of this name.
    sub text {
        my ($name, $text) = @_;
        $name =~ s/["\n]/_/g;
        "package main; \$! = 0; \$Beget::Template::begun = 1;\n"
            . "#line 1 \"$name\"\n$text";
    }

    sub program {
        my @arguments = @_;
        my $first = @arguments ? shift @arguments : '-';
        if ($first =~ /^-[eE]/) {
            my $text = length $first > 2 ? substr $first, 2 : shift @arguments;
            my $features = substr($first, 1, 1) eq 'E' ? 'use feature ":all"; ' : '';
            ($0, @ARGV) = ('-e', @arguments);
            shift @ARGV if @ARGV and $ARGV[0] eq '--';
            return text('-e', "$features$text");
        }
        ($0, @ARGV) = ($first, @arguments);
        my $file = *STDIN;
        if ($first ne '-') {
            open($file, '<', $first) or do {
                print STDERR qq(Can't open perl script "$first": $!\n);
                CORE::exit(2);
            };
        }
        my $text = do { local $/; <$file> };
        # What comes after the program is its data.
        if ($text =~ s/^__(?:END|DATA)__\r?\n(.*)//ms) {
            my $data = $1;
            open(main::DATA, '<', \$data);
        }
        my $warns = $text =~ /\A#!.*perl.*\s-\S*w/ ? 'BEGIN { $^W = 1 } ' : '';
        return text($first, "$warns$text");
    }

    for my $module (@ARGV) {
        (my $file = "$module.pm") =~ s{::}{/}g;
        require $file;
    }
    $| = 0;
    kill 'STOP', $$;
}

eval Beget::Template::program(Beget::Template::become());
if (ref $@ or length $@) {
    # What does not begin ends with 255, whatever the kernel last said.
    $! = $? = 0 unless $Beget::Template::begun;
    die $@;
}

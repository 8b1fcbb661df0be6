# Completions of beget for fish. Written by `beget completions fish`; do not edit.

# The words so far, those of a factory's command as one.
function __beget_words
    set -l words (commandline -opc)
    if test (count $words) -ge 3; and test $words[2] = factory
        set words $words[1] factory-$words[3] $words[4..-1]
    end
    string join \n -- $words
end

# Where the words so far have come to: command, word COMMAND, flag, or the number of the word that is the program.
function __beget_place
    set -l words (__beget_words)
    if test (count $words) -lt 2
        echo command
        return
    end
    if not contains -- $words[2] run show check serve spawn ps wait kill send history top compare bench factory-create factory-run factory-list factory-show factory-replace factory-save factory-load factory-destroy
        test (count $words) -eq 2; and echo word $words[2]
        return
    end
    set -l with_value
    switch $words[2]
        case run
            set with_value --spec --profile --set --read --write --exec --fd --env --tcp-connect --tcp-bind --unix --scratch --keep --tmpfs --tmp --file --symlink --dir --hostname --uid --gid --memory --cpus --processes --open-files --timeout --grace --output-limit --cwd --loader --log --degrade --as-if
        case show
            set with_value --spec --profile --set --read --write --exec --fd --env --tcp-connect --tcp-bind --unix --scratch --keep --tmpfs --tmp --file --symlink --dir --hostname --uid --gid --memory --cpus --processes --open-files --timeout --grace --output-limit --cwd --loader --log --degrade --as-if --socket
        case check
            set with_value --spec --profile --set --read --write --exec --fd --env --tcp-connect --tcp-bind --unix --scratch --keep --tmpfs --tmp --file --symlink --dir --hostname --uid --gid --memory --cpus --processes --open-files --timeout --grace --output-limit --cwd --loader --log --degrade --as-if
        case serve
            set with_value --manifest --on-monitor-death --nurseries --history --socket
        case spawn
            set with_value --spec --profile --set --read --write --exec --fd --env --tcp-connect --tcp-bind --unix --scratch --keep --tmpfs --tmp --file --symlink --dir --hostname --uid --gid --memory --cpus --processes --open-files --timeout --grace --cwd --degrade --as-if --stdin --stdout --stderr --capability --socket
        case ps
            set with_value --socket
        case wait
            set with_value --timeout --socket
        case kill
            set with_value --signal --grace --socket
        case send
            set with_value --capability --fd --socket
        case history
            set with_value --limit --socket
        case top
            set with_value --socket
        case compare
            set with_value --only --json --html
        case bench
            set with_value --only --json --html --against --slow --pin
        case factory-create
            set with_value --spec --profile --set --read --write --exec --fd --env --tcp-connect --tcp-bind --unix --scratch --keep --tmpfs --tmp --file --symlink --dir --hostname --uid --gid --memory --cpus --processes --open-files --cwd --degrade --as-if --ready --preload --pool --low-water --renew --socket
        case factory-run
            set with_value --read --write --exec --fd --env --tcp-connect --tcp-bind --memory --cpus --processes --open-files --timeout --grace --cwd --socket
        case factory-list
            set with_value --socket
        case factory-show
            set with_value --socket
        case factory-replace
            set with_value --socket
        case factory-save
            set with_value --output --sign-with --socket
        case factory-load
            set with_value --spec --profile --set --read --write --exec --fd --env --tcp-connect --tcp-bind --unix --scratch --keep --tmpfs --tmp --file --symlink --dir --hostname --uid --gid --memory --cpus --processes --open-files --cwd --degrade --as-if --pool --low-water --renew --image --signed-by --socket
        case factory-destroy
            set with_value --socket
    end
    set -l i 3
    set -l named
    while test $i -le (count $words)
        switch $words[$i]
            case --
                echo (math $i + 1)
                return
            case '-*'
                contains -- $words[$i] $with_value; and set i (math $i + 1)
            case '*'
                if contains -- $words[2] spawn factory-create factory-load; and test -z "$named"
                    set named $words[$i]
                else if contains -- $words[2] run show check spawn factory-create factory-load
                    echo $i
                    return
                end
        end
        set i (math $i + 1)
    end
    echo flag
end

function __beget_wants_command
    test (__beget_place)x = commandx
end

function __beget_wants_word
    test "$(__beget_place)" = "word $argv[1]"
end

function __beget_wants_flag
    set -l words (__beget_words)
    contains -- "$words[2]" $argv; and test (__beget_place)x = flagx
end

function __beget_wants_program
    set -l words (__beget_words)
    contains -- "$words[2]" run show check spawn factory-create factory-load; and string match -qr '^(flag|[0-9]+)$' -- (__beget_place)
end

function __beget_wants_name
    set -l words (__beget_words)
    contains -- "$words[2]" wait kill send factory-run factory-show factory-replace factory-save factory-destroy; and test (__beget_place)x = flagx
end

# What completes the program, or its arguments.
function __beget_program
    set -l place (__beget_place)
    set -l rest
    if test $place = flag
        string match -q -- '-*' (commandline -ct); and return
    else
        set -l words (__beget_words)
        set rest $words[$place..-1]
    end
    complete -C "$(string join ' ' -- (string escape -- $rest) (commandline -ct))"
end

complete -c beget -f
complete -c beget -n __beget_wants_command -l help -d 'tell of beget'
complete -c beget -n __beget_wants_command -l version -d 'print the version'
complete -c beget -n __beget_wants_program -a '(__beget_program)'
complete -c beget -n __beget_wants_name -a "(beget ps 2>/dev/null | sed -n '2,\$s/^ *\([^ ]*\).*/\1/p')"
complete -c beget -n __beget_wants_command -a run -d 'run a program that holds only what it was given'
complete -c beget -n __beget_wants_command -a show -d 'print what a program would hold, and what enforces each line'
complete -c beget -n __beget_wants_command -a check -d 'print what this kernel can enforce'
complete -c beget -n __beget_wants_command -a serve -d 'keep domains: processes with a name, held by capability'
complete -c beget -n __beget_wants_command -a spawn -d 'start a program as a domain of the service'
complete -c beget -n __beget_wants_command -a ps -d 'list the domains that live'
complete -c beget -n __beget_wants_command -a wait -d 'wait until domains have ended, and tell how'
complete -c beget -n __beget_wants_command -a kill -d 'end domains and all that they left'
complete -c beget -n __beget_wants_command -a send -d 'give a running domain one more descriptor, by name'
complete -c beget -n __beget_wants_command -a history -d 'list the domains that have ended'
complete -c beget -n __beget_wants_command -a top -d 'watch the domains that live'
complete -c beget -n __beget_wants_command -a factory -d 'make a program many times, knowing what it can reach'
complete -c beget -n __beget_wants_command -a compare -d 'show what differs between the ways to make a process'
complete -c beget -n __beget_wants_command -a bench -d 'measure what births cost here, beside other ways'
complete -c beget -n __beget_wants_command -a profiles -d 'list the profiles that are shipped, or print one'
complete -c beget -n __beget_wants_command -a completions -d 'print the completions of a shell'
complete -c beget -n __beget_wants_command -a help -d 'tell of beget, or of one command'
complete -c beget -n __beget_wants_command -a version -d 'print the version'
complete -c beget -n '__beget_wants_word factory' -a 'create run list show replace save load destroy'
complete -c beget -n '__beget_wants_word profiles' -a 'agent cargo git make node python python-parallel'
complete -c beget -n '__beget_wants_word completions' -a 'bash zsh fish'
complete -c beget -n '__beget_wants_word help' -a 'run show check serve spawn ps wait kill send history top factory compare bench profiles completions help version'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l spec -r -F -d 'begin with what this TOML file says'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l profile -x -a 'agent cargo git make node python python-parallel' -d 'the profile of that name in the file'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l set -r -F -d 'the value of ${NAME} in the file'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l read -r -F -d 'read PATH and all below it'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l write -r -F -d 'read, write, create, remove, rename and truncate there'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l exec -r -F -d 'read and execute'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l base -d 'the system\'s own program files'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l fd -r -F -d 'an open descriptor of the caller, or PATH opened for reading (:rw to write too), a folder with all below it, in the next free slot from 3'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l env -x -a '(set --names --export)' -d 'a variable'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l tcp-connect -x -d 'connect to this TCP port, of any host'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l tcp-bind -x -d 'bind this TCP port and listen'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l inet-dns -d 'ask name servers'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l net -d 'the whole network, but no Unix sockets'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l unix -r -F -d 'connect to the Unix socket at PATH'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l loopback -d 'sockets of a loopback interface of its own, which reach nothing outside'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l spawn -d 'create processes'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l root -d 'a private root'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l scratch -r -F -d 'the folder PATH to write, with what is changed in memory and gone at the end'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l keep -x -a '(__fish_complete_directories)' -d 'what the --scratch before it changes is kept in DIR/changes, and found there by the next that names it'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l tmpfs -x -a '(__fish_complete_directories)' -d 'an empty folder in memory at DST, to write'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l tmp -x -d 'room in /tmp, instead of 512M'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l file -x -d 'a file at DST that holds TEXT, to read'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l symlink -r -F -d 'a symbolic link at DST that says TARGET'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l dir -x -a '(__fish_complete_directories)' -d 'an empty folder at DST, to read'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l hostname -x -d 'the machine\'s name, instead of beget'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l uid -x -d 'the user\'s number as seen inside, instead of yours'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l gid -x -d 'the group\'s number as seen inside, instead of yours'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l memory -x -d 'memory of all its processes together'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l cpus -x -d 'processors it runs on'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l processes -x -d 'processes and threads at once, its own among them'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l open-files -x -d 'open files of each process, instead of 1024'
complete -c beget -n '__beget_wants_flag run show check spawn factory-run' -l timeout -x -d 'end the whole tree after this time'
complete -c beget -n '__beget_wants_flag run show check spawn factory-run' -l grace -x -d 'with --timeout'
complete -c beget -n '__beget_wants_flag run show check' -l output-limit -x -d 'end the whole tree when it has written this much to standard output and error, or to the terminal of --pty'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load factory-run' -l cwd -x -a '(__fish_complete_directories)' -d 'start there instead of in /, where relative arguments are looked for'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l only -d 'execute no other program'
complete -c beget -n '__beget_wants_flag run show check spawn' -l discreet -d 'mark no file, its own included'
complete -c beget -n '__beget_wants_flag run show check' -l loader -x -a 'kernel direct' -d 'who puts the program into memory'
complete -c beget -n '__beget_wants_flag run show check' -l suspend -d 'stop before the program\'s first instruction, tell its process number and wait, for a debugger to attach (gdb -p) or somebody to continue it (kill -CONT)'
complete -c beget -n '__beget_wants_flag run show check' -l pty -d 'a terminal of its own for its three streams, in a session of its own'
complete -c beget -n '__beget_wants_flag run show check' -l log -r -F -d 'record the output in FILE, with times, as an asciicast (version 2, for `asciinema play`)'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l degrade -x -a 'root files truncation devices tracing signals abstract-sockets tcp-ports calls keys marks memory processes cpus' -d 'go on where this kernel cannot keep the promise'
complete -c beget -n '__beget_wants_flag run show check spawn factory-create factory-load' -l as-if -x -a 'cgroup=none landlock=none landlock=1 landlock=2 landlock=3 landlock=4 landlock=5 landlock=6' -d 'take the kernel\'s Landlock for ABI N at most, or for none, or the system for one without cgroups'
complete -c beget -n '__beget_wants_flag run show check' -l json -d 'print JSON'
complete -c beget -n '__beget_wants_flag spawn' -l stdio -d 'our own standard input, output and error'
complete -c beget -n '__beget_wants_flag spawn' -l stdin -r -F -d 'read standard input from FILE'
complete -c beget -n '__beget_wants_flag spawn' -l stdout -r -F -d 'append standard output to FILE, which is made if it is not there'
complete -c beget -n '__beget_wants_flag spawn' -l stderr -r -F -d 'append standard error to FILE, likewise'
complete -c beget -n '__beget_wants_flag spawn send' -l capability -x -d 'in the slot SLOT a capability to the domain NAME, with some of its rights'
complete -c beget -n '__beget_wants_flag spawn' -l spawner -d 'in the slot spawn the capability to create domains, which hold no more than this one'
complete -c beget -n '__beget_wants_flag spawn' -l tied -d 'stay until it has ended and end with its exit code'
complete -c beget -n '__beget_wants_flag wait' -l timeout -x -d 'wait no longer'
complete -c beget -n '__beget_wants_flag wait' -l no-hang -d 'do not wait'
complete -c beget -n '__beget_wants_flag kill' -l signal -x -a 'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS' -d 'send its first process this signal, by name or number, and do no more'
complete -c beget -n '__beget_wants_flag kill' -l grace -x -d 'ask it to end (SIGTERM), and wait this long before it is ended'
complete -c beget -n '__beget_wants_flag send' -l fd -r -F -d 'an open descriptor of ours, or PATH opened for reading (:rw to write too), by the name NAME'
complete -c beget -n '__beget_wants_flag history' -l limit -x -d 'no more than the last N, instead of all'
complete -c beget -n '__beget_wants_flag serve' -l manifest -r -F -d 'start the domains that this TOML file says, in order of what they need of each other, and again when they end, as it says'
complete -c beget -n '__beget_wants_flag serve' -l on-monitor-death -x -a 'die live' -d 'what becomes of the domains when the monitor is killed'
complete -c beget -n '__beget_wants_flag serve' -l nurseries -x -d 'processes in which domains are born, for each user'
complete -c beget -n '__beget_wants_flag serve' -l other-users -d 'serve other users too, each with its own rights'
complete -c beget -n '__beget_wants_flag serve' -l history -x -d 'remember the last N domains that have ended, instead of 1000'
complete -c beget -n '__beget_wants_flag serve' -l stop -d 'end the service that runs, and all its domains'
complete -c beget -n '__beget_wants_flag serve' -l status -d 'say what the service that runs says of itself'
complete -c beget -n '__beget_wants_flag serve' -l socket -r -F -d 'listen at PATH, instead of what BEGET_SOCKET says, or where this user\'s service is looked for'
complete -c beget -n '__beget_wants_flag spawn ps wait kill send history top' -l socket -r -F -d 'the service that listens at PATH'
complete -c beget -n '__beget_wants_flag show' -l socket -r -F -d 'show a domain of the service that listens at PATH'
complete -c beget -n '__beget_wants_flag serve spawn ps wait kill send history' -l json -d 'print JSON'
complete -c beget -n '__beget_wants_flag factory-create' -l ready -x -a 'entry main stdin stop symbol=' -d 'start the program once, and stop it there for products to be copied from'
complete -c beget -n '__beget_wants_flag factory-create factory-load' -l python -d 'the program is a Python, with what it has as arguments for its own flags'
complete -c beget -n '__beget_wants_flag factory-create factory-load' -l perl -d 'the program is a Perl, likewise'
complete -c beget -n '__beget_wants_flag factory-create' -l preload -x -d 'with --python or --perl'
complete -c beget -n '__beget_wants_flag factory-create factory-load' -l pool -x -d 'keep N products born ahead, which wait to be told what is theirs'
complete -c beget -n '__beget_wants_flag factory-create factory-load' -l low-water -x -d 'fill the pool again when fewer than N wait, instead of half of it'
complete -c beget -n '__beget_wants_flag factory-create factory-load' -l renew -x -d 'start the program anew after N products, whose layout and secrets are others then'
complete -c beget -n '__beget_wants_flag factory-create factory-load' -l inspectable -d 'let other processes of this user look into products, as debuggers do'
complete -c beget -n '__beget_wants_flag factory-create factory-load' -l no-freeze -d 'leave the memory that products are copied from as the program made it, instead of turning it into one shared image'
complete -c beget -n '__beget_wants_flag factory-load' -l image -r -F -d 'what `beget factory save` has saved'
complete -c beget -n '__beget_wants_flag factory-load' -l signed-by -r -F -d 'take it only if the private key to this public key has signed it'
complete -c beget -n '__beget_wants_flag factory-save' -l output -r -F -d 'where the image is written'
complete -c beget -n '__beget_wants_flag factory-save' -l sign-with -r -F -d 'sign the image with this private key (Ed25519, PEM, as `openssl genpkey` makes it)'
complete -c beget -n '__beget_wants_flag factory-run' -l unique -d 'only a product that shares no randomness and no layout of memory with another'
complete -c beget -n '__beget_wants_flag factory-create factory-load' -l socket -r -F -d 'the service that listens at PATH, instead of this user\'s'
complete -c beget -n '__beget_wants_flag factory-run factory-list factory-show factory-replace factory-save factory-destroy' -l socket -r -F -d 'the service that listens at PATH'
complete -c beget -n '__beget_wants_flag factory-create factory-load factory-run factory-list factory-show factory-destroy' -l json -d 'print JSON'
complete -c beget -n '__beget_wants_flag bench' -l quick -d 'about three minutes'
complete -c beget -n '__beget_wants_flag bench' -l only -x -a 'floors spawn confined embryos batches commands roots filter service factories' -d 'measure this and no other subject'
complete -c beget -n '__beget_wants_flag compare' -l quick -d 'some seconds'
complete -c beget -n '__beget_wants_flag compare' -l only -x -a 'fork fork-forgotten vfork posix_spawn std confined embryo batch constructor warm pooled fork_with bwrap firejail unshare sandlock nsjail crun runc subprocess forkserver' -d 'compare this and no other way'
complete -c beget -n '__beget_wants_flag bench compare' -l list -d 'print the names for --only, and measure nothing'
complete -c beget -n '__beget_wants_flag bench compare' -l json -r -F -d 'write everything to FILE, for other programs'
complete -c beget -n '__beget_wants_flag bench compare' -l html -r -F -d 'write everything to FILE, one page for a browser that needs nothing else'
complete -c beget -n '__beget_wants_flag bench' -l against -r -F -d 'tell the results of an earlier run, as --json wrote them, beside those of this one, and whether they differ by more than their ranges'
complete -c beget -n '__beget_wants_flag bench' -l write -d 'write bench/RESULTS.md, bench/results.json and the figures in README.md of the repository that we are in'
complete -c beget -n '__beget_wants_flag bench' -l slow -x -d 'make every turn of the way that has this name in a table longer by this'
complete -c beget -n '__beget_wants_flag bench' -l pin -x -d 'everything on processor N'

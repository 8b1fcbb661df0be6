# Completions of beget for fish. Written by `beget completions fish`; do not edit.

# Where the words so far have come to: command, word COMMAND, flag, or the number of the word that is the program.
function __beget_place
    set -l words (commandline -opc)
    set -l with_value --spec --profile --set --read --write --exec --fd --env --tcp-connect --tcp-bind --unix --scratch --keep --tmpfs --tmp --file --symlink --dir --hostname --uid --gid --memory --cpus --processes --open-files --timeout --grace --output-limit --cwd --loader --log --degrade --as-if --stdin --stdout --stderr --capability --signal --limit --manifest --on-monitor-death --nurseries --history --socket
    if test (count $words) -lt 2
        echo command
        return
    end
    if not contains -- $words[2] run show check serve spawn ps wait kill send history top
        test (count $words) -eq 2; and echo word $words[2]
        return
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
                if contains -- $words[2] spawn; and test -z "$named"
                    set named $words[$i]
                else if contains -- $words[2] run show check spawn
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
    set -l words (commandline -opc)
    contains -- "$words[2]" $argv; and test (__beget_place)x = flagx
end

function __beget_wants_program
    set -l words (commandline -opc)
    contains -- "$words[2]" run show check spawn; and string match -qr '^(flag|[0-9]+)$' -- (__beget_place)
end

function __beget_wants_name
    set -l words (commandline -opc)
    contains -- "$words[2]" wait kill send; and test (__beget_place)x = flagx
end

# What completes the program, or its arguments.
function __beget_program
    set -l place (__beget_place)
    set -l rest
    if test $place = flag
        string match -q -- '-*' (commandline -ct); and return
    else
        set -l words (commandline -opc)
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
complete -c beget -n __beget_wants_command -a profiles -d 'list the profiles that are shipped, or print one'
complete -c beget -n __beget_wants_command -a completions -d 'print the completions of a shell'
complete -c beget -n __beget_wants_command -a help -d 'tell of beget, or of one command'
complete -c beget -n __beget_wants_command -a version -d 'print the version'
complete -c beget -n '__beget_wants_word profiles' -a 'agent cargo git make node python python-parallel'
complete -c beget -n '__beget_wants_word completions' -a 'bash zsh fish'
complete -c beget -n '__beget_wants_word help' -a 'run show check serve spawn ps wait kill send history top profiles completions help version'
complete -c beget -n '__beget_wants_flag run show check spawn' -l spec -r -F -d 'begin with what this TOML file says'
complete -c beget -n '__beget_wants_flag run show check spawn' -l profile -x -a 'agent cargo git make node python python-parallel' -d 'the profile of that name in the file'
complete -c beget -n '__beget_wants_flag run show check spawn' -l set -r -F -d 'the value of ${NAME} in the file'
complete -c beget -n '__beget_wants_flag run show check spawn' -l read -r -F -d 'read PATH and all below it'
complete -c beget -n '__beget_wants_flag run show check spawn' -l write -r -F -d 'read, write, create, remove, rename and truncate there'
complete -c beget -n '__beget_wants_flag run show check spawn' -l exec -r -F -d 'read and execute'
complete -c beget -n '__beget_wants_flag run show check spawn' -l base -d 'the system\'s own program files'
complete -c beget -n '__beget_wants_flag run show check spawn' -l fd -r -F -d 'an open descriptor of the caller, or PATH opened for reading (:rw to write too), in the next free slot from 3'
complete -c beget -n '__beget_wants_flag run show check spawn' -l env -x -a '(set --names --export)' -d 'a variable'
complete -c beget -n '__beget_wants_flag run show check spawn' -l tcp-connect -x -d 'connect to this TCP port, of any host'
complete -c beget -n '__beget_wants_flag run show check spawn' -l tcp-bind -x -d 'bind this TCP port and listen'
complete -c beget -n '__beget_wants_flag run show check spawn' -l inet-dns -d 'ask name servers'
complete -c beget -n '__beget_wants_flag run show check spawn' -l net -d 'the whole network, but no Unix sockets'
complete -c beget -n '__beget_wants_flag run show check spawn' -l unix -r -F -d 'connect to the Unix socket at PATH'
complete -c beget -n '__beget_wants_flag run show check spawn' -l loopback -d 'sockets of a loopback interface of its own, which reach nothing outside'
complete -c beget -n '__beget_wants_flag run show check spawn' -l spawn -d 'create processes'
complete -c beget -n '__beget_wants_flag run show check spawn' -l root -d 'a private root'
complete -c beget -n '__beget_wants_flag run show check spawn' -l scratch -r -F -d 'the folder PATH to write, with what is changed in memory and gone at the end'
complete -c beget -n '__beget_wants_flag run show check spawn' -l keep -x -a '(__fish_complete_directories)' -d 'what the --scratch before it changes is kept in DIR/changes, and found there by the next that names it'
complete -c beget -n '__beget_wants_flag run show check spawn' -l tmpfs -x -a '(__fish_complete_directories)' -d 'an empty folder in memory at DST, to write'
complete -c beget -n '__beget_wants_flag run show check spawn' -l tmp -x -d 'room in /tmp, instead of 512M'
complete -c beget -n '__beget_wants_flag run show check spawn' -l file -x -d 'a file at DST that holds TEXT, to read'
complete -c beget -n '__beget_wants_flag run show check spawn' -l symlink -r -F -d 'a symbolic link at DST that says TARGET'
complete -c beget -n '__beget_wants_flag run show check spawn' -l dir -x -a '(__fish_complete_directories)' -d 'an empty folder at DST, to read'
complete -c beget -n '__beget_wants_flag run show check spawn' -l hostname -x -d 'the machine\'s name, instead of beget'
complete -c beget -n '__beget_wants_flag run show check spawn' -l uid -x -d 'the user\'s number as seen inside, instead of yours'
complete -c beget -n '__beget_wants_flag run show check spawn' -l gid -x -d 'the group\'s number as seen inside, instead of yours'
complete -c beget -n '__beget_wants_flag run show check spawn' -l memory -x -d 'memory of all its processes together'
complete -c beget -n '__beget_wants_flag run show check spawn' -l cpus -x -d 'processors it runs on'
complete -c beget -n '__beget_wants_flag run show check spawn' -l processes -x -d 'processes and threads at once, its own among them'
complete -c beget -n '__beget_wants_flag run show check spawn' -l open-files -x -d 'open files of each process, instead of 1024'
complete -c beget -n '__beget_wants_flag run show check spawn' -l timeout -x -d 'end the whole tree after this time'
complete -c beget -n '__beget_wants_flag run show check spawn' -l grace -x -d 'with --timeout'
complete -c beget -n '__beget_wants_flag run show check' -l output-limit -x -d 'end the whole tree when it has written this much to standard output and error, or to the terminal of --pty'
complete -c beget -n '__beget_wants_flag run show check spawn' -l cwd -x -a '(__fish_complete_directories)' -d 'start there instead of in /, where relative arguments are looked for'
complete -c beget -n '__beget_wants_flag run show check spawn' -l only -d 'execute no other program'
complete -c beget -n '__beget_wants_flag run show check' -l loader -x -a 'kernel direct' -d 'who puts the program into memory'
complete -c beget -n '__beget_wants_flag run show check' -l suspend -d 'stop before the program\'s first instruction, tell its process number and wait, for a debugger to attach (gdb -p) or somebody to continue it (kill -CONT)'
complete -c beget -n '__beget_wants_flag run show check' -l pty -d 'a terminal of its own for its three streams, in a session of its own'
complete -c beget -n '__beget_wants_flag run show check' -l log -r -F -d 'record the output in FILE, with times, as an asciicast (version 2, for `asciinema play`)'
complete -c beget -n '__beget_wants_flag run show check spawn' -l degrade -x -a 'root files truncation devices tracing signals abstract-sockets tcp-ports calls keys marks memory processes cpus' -d 'go on where this kernel cannot keep the promise'
complete -c beget -n '__beget_wants_flag run show check spawn' -l as-if -x -a 'cgroup=none landlock=none landlock=1 landlock=2 landlock=3 landlock=4 landlock=5 landlock=6' -d 'take the kernel\'s Landlock for ABI N at most, or for none, or the system for one without cgroups'
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

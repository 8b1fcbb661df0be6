# Completions of beget for fish. Written by `beget completions fish`; do not edit.

# Where the words so far have come to: command, word COMMAND, flag, or the number of the word that is the program.
function __beget_place
    set -l words (commandline -opc)
    set -l with_value --spec --profile --set --read --write --exec --fd --env --tcp-connect --tcp-bind --unix --scratch --keep --tmpfs --tmp --file --symlink --dir --hostname --uid --gid --memory --cpus --processes --open-files --timeout --grace --output-limit --cwd --loader --log --degrade --as-if
    if test (count $words) -lt 2
        echo command
        return
    end
    if not contains -- $words[2] run show check
        test (count $words) -eq 2; and echo word $words[2]
        return
    end
    set -l i 3
    while test $i -le (count $words)
        switch $words[$i]
            case --
                echo (math $i + 1)
                return
            case '-*'
                contains -- $words[$i] $with_value; and set i (math $i + 1)
            case '*'
                echo $i
                return
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
    test (__beget_place)x = flagx
end

function __beget_wants_program
    string match -qr '^(flag|[0-9]+)$' -- (__beget_place)
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
complete -c beget -n __beget_wants_command -a run -d 'run a program that holds only what it was given'
complete -c beget -n __beget_wants_command -a show -d 'print what a program would hold, and what enforces each line'
complete -c beget -n __beget_wants_command -a check -d 'print what this kernel can enforce'
complete -c beget -n __beget_wants_command -a profiles -d 'list the profiles that are shipped, or print one'
complete -c beget -n __beget_wants_command -a completions -d 'print the completions of a shell'
complete -c beget -n __beget_wants_command -a help -d 'tell of beget, or of one command'
complete -c beget -n __beget_wants_command -a version -d 'print the version'
complete -c beget -n '__beget_wants_word profiles' -a 'agent cargo git make node python python-parallel'
complete -c beget -n '__beget_wants_word completions' -a 'bash zsh fish'
complete -c beget -n '__beget_wants_word help' -a 'run show check profiles completions help version'
complete -c beget -n __beget_wants_flag -l spec -r -F -d 'begin with what this TOML file says'
complete -c beget -n __beget_wants_flag -l profile -x -a 'agent cargo git make node python python-parallel' -d 'the profile of that name in the file'
complete -c beget -n __beget_wants_flag -l set -r -F -d 'the value of ${NAME} in the file'
complete -c beget -n __beget_wants_flag -l read -r -F -d 'read PATH and all below it'
complete -c beget -n __beget_wants_flag -l write -r -F -d 'read, write, create, remove, rename and truncate there'
complete -c beget -n __beget_wants_flag -l exec -r -F -d 'read and execute'
complete -c beget -n __beget_wants_flag -l base -d 'the system\'s own program files'
complete -c beget -n __beget_wants_flag -l fd -r -F -d 'an open descriptor of the caller, or PATH opened for reading (:rw to write too), in the next free slot from 3'
complete -c beget -n __beget_wants_flag -l env -x -a '(set --names --export)' -d 'a variable'
complete -c beget -n __beget_wants_flag -l tcp-connect -x -d 'connect to this TCP port, of any host'
complete -c beget -n __beget_wants_flag -l tcp-bind -x -d 'bind this TCP port and listen'
complete -c beget -n __beget_wants_flag -l inet-dns -d 'ask name servers'
complete -c beget -n __beget_wants_flag -l net -d 'the whole network, but no Unix sockets'
complete -c beget -n __beget_wants_flag -l unix -r -F -d 'connect to the Unix socket at PATH'
complete -c beget -n __beget_wants_flag -l loopback -d 'sockets of a loopback interface of its own, which reach nothing outside'
complete -c beget -n __beget_wants_flag -l spawn -d 'create processes'
complete -c beget -n __beget_wants_flag -l root -d 'a private root'
complete -c beget -n __beget_wants_flag -l scratch -r -F -d 'the folder PATH to write, with what is changed in memory and gone at the end'
complete -c beget -n __beget_wants_flag -l keep -x -a '(__fish_complete_directories)' -d 'what the --scratch before it changes is kept in DIR/changes, and found there by the next that names it'
complete -c beget -n __beget_wants_flag -l tmpfs -x -a '(__fish_complete_directories)' -d 'an empty folder in memory at DST, to write'
complete -c beget -n __beget_wants_flag -l tmp -x -d 'room in /tmp, instead of 512M'
complete -c beget -n __beget_wants_flag -l file -x -d 'a file at DST that holds TEXT, to read'
complete -c beget -n __beget_wants_flag -l symlink -r -F -d 'a symbolic link at DST that says TARGET'
complete -c beget -n __beget_wants_flag -l dir -x -a '(__fish_complete_directories)' -d 'an empty folder at DST, to read'
complete -c beget -n __beget_wants_flag -l hostname -x -d 'the machine\'s name, instead of beget'
complete -c beget -n __beget_wants_flag -l uid -x -d 'the user\'s number as seen inside, instead of yours'
complete -c beget -n __beget_wants_flag -l gid -x -d 'the group\'s number as seen inside, instead of yours'
complete -c beget -n __beget_wants_flag -l memory -x -d 'memory of all its processes together'
complete -c beget -n __beget_wants_flag -l cpus -x -d 'processors it runs on'
complete -c beget -n __beget_wants_flag -l processes -x -d 'processes and threads at once, its own among them'
complete -c beget -n __beget_wants_flag -l open-files -x -d 'open files of each process, instead of 1024'
complete -c beget -n __beget_wants_flag -l timeout -x -d 'end the whole tree after this time'
complete -c beget -n __beget_wants_flag -l grace -x -d 'with --timeout'
complete -c beget -n __beget_wants_flag -l output-limit -x -d 'end the whole tree when it has written this much to standard output and error, or to the terminal of --pty'
complete -c beget -n __beget_wants_flag -l cwd -x -a '(__fish_complete_directories)' -d 'start there instead of in /, where relative arguments are looked for'
complete -c beget -n __beget_wants_flag -l only -d 'execute no other program'
complete -c beget -n __beget_wants_flag -l loader -x -a 'kernel direct' -d 'who puts the program into memory'
complete -c beget -n __beget_wants_flag -l suspend -d 'stop before the program\'s first instruction, tell its process number and wait, for a debugger to attach (gdb -p) or somebody to continue it (kill -CONT)'
complete -c beget -n __beget_wants_flag -l pty -d 'a terminal of its own for its three streams, in a session of its own'
complete -c beget -n __beget_wants_flag -l log -r -F -d 'record the output in FILE, with times, as an asciicast (version 2, for `asciinema play`)'
complete -c beget -n __beget_wants_flag -l degrade -x -a 'root files truncation devices tracing signals abstract-sockets tcp-ports calls keys memory processes cpus' -d 'go on where this kernel cannot keep the promise'
complete -c beget -n __beget_wants_flag -l as-if -x -a 'cgroup=none landlock=none landlock=1 landlock=2 landlock=3 landlock=4 landlock=5 landlock=6' -d 'take the kernel\'s Landlock for ABI N at most, or for none, or the system for one without cgroups'
complete -c beget -n __beget_wants_flag -l json -d 'print JSON'

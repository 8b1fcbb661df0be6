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
    if not contains -- $words[2] @WITH_FLAGS@
        test (count $words) -eq 2; and echo word $words[2]
        return
    end
    set -l with_value
    switch $words[2]
        @WITH_VALUE@
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
                if contains -- $words[2] @WITH_NAME@; and test -z "$named"
                    set named $words[$i]
                else if contains -- $words[2] @WITH_PROGRAM@
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
    contains -- "$words[2]" @WITH_PROGRAM@; and string match -qr '^(flag|[0-9]+)$' -- (__beget_place)
end

function __beget_wants_name
    set -l words (__beget_words)
    contains -- "$words[2]" @WITH_DOMAIN@; and test (__beget_place)x = flagx
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
@LINES@

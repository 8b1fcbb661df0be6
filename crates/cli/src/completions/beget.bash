# Completions of beget for bash. Written by `beget completions bash`; do not edit.

_beget() {
    local i command words kind flag value piece takes= flags= with_value= first=2
    COMPREPLY=()
    local cur=${COMP_WORDS[COMP_CWORD]}
    command=${COMP_WORDS[1]}
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W '@COMMANDS@ --help --version' -- "$cur"))
        return
    fi
    if [[ $command == factory ]] && ((COMP_CWORD > 2)); then
        command=factory-${COMP_WORDS[2]} first=3
    fi
    case $command in
        @BY_COMMAND@
        *)
            ((COMP_CWORD == 2)) || return
            words=--help
            case $command in
        @WORDS@
            esac
            COMPREPLY=($(compgen -W "$words" -- "$cur"))
            return
            ;;
    esac

    # Bash gives `=` and `:` as words of their own: a value goes on over them. What is found first that is no flag is the program.
    i=$first
    while ((i < COMP_CWORD)); do
        flag=${COMP_WORDS[i]}
        case $flag in
            --)
                if [[ $takes == program || $takes == named ]]; then
                    _beget_program $((i + 1))
                    return
                fi
                ((++i))
                ;;
            --*)
                ((++i))
                [[ $with_value == *" $flag "* ]] || continue
                [[ ${COMP_WORDS[i]} == = ]] && ((++i))
                value=
                while ((i < COMP_CWORD)); do
                    value+=${COMP_WORDS[i]}
                    if [[ ${COMP_WORDS[i + 1]} == [=:]* || ${COMP_WORDS[i]} == *[=:] ]]; then
                        ((++i))
                    else
                        break
                    fi
                done
                if ((i >= COMP_CWORD)); then
                    [[ $cur == = && -z $value ]] && cur=
                    _beget_value "$command:$flag" "$value$cur"
                    return
                fi
                ((++i))
                ;;
            -*) ((++i)) ;;
            *)
                if [[ $takes == program ]]; then
                    _beget_program "$i"
                    return
                fi
                [[ $takes == named ]] && takes=program
                ((++i))
                ;;
        esac
    done
    case $cur in
        -*) COMPREPLY=($(compgen -W "$flags --help --" -- "$cur")) ;;
        *)
            case $takes in
                program) COMPREPLY=($(compgen -c -- "$cur") $(compgen -W '--' -- "$cur")) ;;
                names)
                    words=$(beget ps 2>/dev/null | sed -n '2,$s/^ *\([^ ]*\).*/\1/p')
                    COMPREPLY=($(compgen -W "$words" -- "$cur"))
                    ;;
            esac
            ;;
    esac
}

# The value of a flag, typed so far.
_beget_value() {
    local kind=none words piece=${2##*[=:]}
    case $1 in
        @VALUES@
    esac
    local IFS=$'\n'
    case $kind in
        file | folder)
            # With quotes and slashes where the shell wants them; there is nothing to tell outside of a completion.
            compopt -o filenames 2>/dev/null
            if [[ $kind == file ]]; then
                COMPREPLY=($(compgen -f -- "$piece"))
            else
                COMPREPLY=($(compgen -d -- "$piece"))
            fi
            ;;
        variable) [[ $2 == *=* ]] || COMPREPLY=($(compgen -e -- "$2")) ;;
        words)
            IFS=$' \n'
            COMPREPLY=($(compgen -W "$words" -- "$2"))
            # The shell puts what is found behind the last `=`.
            COMPREPLY=("${COMPREPLY[@]#"${2%"$piece"}"}")
            [[ ${#COMPREPLY[@]} == 1 && -z ${COMPREPLY[0]} ]] && COMPREPLY=()
            ;;
    esac
}

# The program, which is the word of that number, and its arguments.
_beget_program() {
    local cur=${COMP_WORDS[COMP_CWORD]}
    if declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif (($1 == COMP_CWORD)); then
        COMPREPLY=($(compgen -c -- "$cur"))
    else
        local IFS=$'\n'
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "$cur"))
    fi
}

complete -F _beget beget

#compdef beget
# Completions of beget for zsh. Written by `beget completions zsh`; do not edit.

# A file behind the last `=` or `:` of the value.
_beget_file() {
    compset -P '*[=:]'
    _files
}

_beget() {
    local -a names
    names=(
        @COMMANDS@
    )
    local context state state_descr line
    typeset -A opt_args
    if (( CURRENT == 2 )); then
        _describe -t commands command names
        return
    fi
    shift words
    (( CURRENT-- ))
    case $words[1] in
        @WITH_FLAGS@)
            _arguments -S \
                '(- *)--help[tell of this command]' \
                @FLAGS@
                '(-):program:_command_names -e' \
                '*::argument:_normal'
            ;;
        @WORDS@
    esac
}

if [[ $funcstack[1] == _beget ]]; then
    _beget "$@"
else
    compdef _beget beget
fi

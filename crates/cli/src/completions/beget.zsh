#compdef beget
# Completions of beget for zsh. Written by `beget completions zsh`; do not edit.

# A file behind the last `=` or `:` of the value.
_beget_file() {
    compset -P '*[=:]'
    _files
}

# A domain that lives.
_beget_names() {
    local -a living
    living=(${(f)"$(beget ps 2>/dev/null | sed -n '2,$s/^ *\([^ ]*\).*/\1/p')"})
    compadd -a living
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
    if [[ $words[1] == factory ]] && (( CURRENT > 2 )); then
        shift words
        (( CURRENT-- ))
        words[1]=factory-$words[1]
    fi
    case $words[1] in
        @BY_COMMAND@
        @WORDS@
    esac
}

if [[ $funcstack[1] == _beget ]]; then
    _beget "$@"
else
    compdef _beget beget
fi

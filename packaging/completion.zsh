#compdef @COMMAND@
# zsh completion of @COMMAND@.  Made by packaging/completion.py; do not edit.

# The last argument is a kind of names; those before it are for compadd.
_sundog_names() {
    local -a names
    names=(${(f)"$($sundog_ask __complete $@[-1] "${(Q@)sundog_words}" 2>/dev/null)"})
    compadd "${@[1,-2]}" -a names
}

_sundog_images_and_files() {
    _alternative 'images:image:_sundog_names images' 'files:file:_files'
}

_sundog_subcommands() {
    _describe subcommand subcommands
}

_@COMMAND@() {
    local curcontext=$curcontext state line
    typeset -A opt_args
    local -a subcommands sundog_words=("${words[@]}") sundog_ask=(ch-image)
    # For a path, the ch-image that came with this file: what lies there may be anybody's.
    [[ $words[1] != */* ]] || sundog_ask=(${${(%):-%x}:a:h:h:h:h}/bin/ch-image)
@DATA@
}

_@COMMAND@ "$@"

# bash completion of @COMMAND@.  Made by packaging/completion.py; do not edit.

# Set "data" to what is known of a word: "SUBCOMMAND options", "SUBCOMMAND --option",
# "SUBCOMMAND subcommands", or "SUBCOMMAND NUMBER", the number of an operand.
@FUNCTION@_data() {
    data=
    case $1 in
@DATA@
    esac
}

# Add the candidates of a kind that begin with the second argument.
@FUNCTION@_add() {
    local kind=${1%% *} text= word candidates
    case $kind in
        words) text=${1#words} ;;
        images | stages | images-and-files)
            text=$("${ask[@]}" __complete "${kind%%-*}" "${words[@]}" 2>/dev/null)
            ;;
    esac
    IFS=$' \t\n' read -r -d '' -a candidates <<<"$text"
    for word in "${candidates[@]}"; do
        [[ $word != "$2"* ]] || COMPREPLY+=("$word")
    done
    case $kind in
        files | images-and-files) text=-f ;;
        directories) text=-d ;;
        *) return ;;
    esac
    compopt -o filenames 2>/dev/null
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(compgen "$text" -- "$2")
}

@FUNCTION@() {
    local data current word name index operands=0 subcommand= wanted= ended= words=() ask=(ch-image)
    local rest=${COMP_LINE:0:COMP_POINT}
    COMPREPLY=()
    # bash splits words at ":" and "=".  Join those without a blank between them again.
    for ((index = 0; index <= COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if ((index == 0)) || [[ $rest == [[:space:]]* ]]; then
            words+=("$word")
        else
            words[${#words[@]} - 1]+=$word
        fi
        rest=${rest#"${rest%%[![:space:]]*}"}
        rest=${rest#"$word"}
    done
    # For a path, the ch-image that came with this file: what lies there may be anybody's.
    [[ ${words[0]} != */* ]] || ask=("${BASH_SOURCE[0]%/*}/../../../bin/ch-image")
    current=${words[${#words[@]} - 1]}
    @FUNCTION@_data ' subcommands'
    local all=$data subcommands=$data
    for word in "${words[@]:1:${#words[@]}-2}"; do
        if [[ $wanted ]]; then
            wanted=
        elif [[ $ended || $word != -?* ]]; then
            if [[ $subcommands ]]; then
                subcommand+=${subcommand:+ }$word
                @FUNCTION@_data "$subcommand subcommands"
                subcommands=$data
            else
                operands=$((operands + 1))
            fi
        elif [[ $word == -- ]]; then
            ended=yes
        else
            @FUNCTION@_data "$subcommand $word"
            [[ ! $data || $data == attached* ]] || wanted=$data
        fi
    done
    if [[ $wanted ]]; then
        @FUNCTION@_add "$wanted" "$current"
    elif [[ ! $ended && $current == --*=* ]]; then
        name=${current%%=*}
        @FUNCTION@_data "$subcommand $name"
        @FUNCTION@_add "${data#attached }" "${current#*=}"
        COMPREPLY=("${COMPREPLY[@]/#/$name=}")
    elif [[ ! $ended && $current == -* ]]; then
        @FUNCTION@_data "$subcommand options"
        @FUNCTION@_add "words $data" "$current"
    elif [[ $subcommands ]]; then
        @FUNCTION@_add "words $subcommands" "$current"
    else
        @FUNCTION@_data "$subcommand $((operands + 1))"
        [[ $data != subcommands ]] || data="words $all"
        @FUNCTION@_add "$data" "$current"
    fi
    # bash replaces only what follows the last ":" or "=".
    name=${current%"${current##*[:=]}"}
    if [[ $name && $COMP_WORDBREAKS == *[:=]* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"$name"}")
    fi
}

complete -F @FUNCTION@ @COMMAND@

# fish completion of @COMMAND@.  Made by packaging/completion.py; do not edit.

function __sundog_names
    set -l words (commandline -opc)
    set -l ask ch-image
    # The ch-image beside this command, if the user wrote a path.
    if string match -q '*/*' -- $words[1]; and test -x (path dirname -- $words[1])/ch-image
        set ask (path dirname -- $words[1])/ch-image
    end
    command $ask __complete $argv[1] $words 2>/dev/null
end

# Not __fish_seen_subcommand_from: in fish 4.0 the word x has seen index.
function __sundog_seen
    set -l words (commandline -opc)
    for name in $argv
        contains -- $name $words[2..]; and return 0
    end
    return 1
end

function __@COMMAND@_subcommands
    complete -C '@COMMAND@ ' | string replace -r '\t.*' ''
end

@DATA@

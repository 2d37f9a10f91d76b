# fish completion of @COMMAND@.  Made by packaging/completion.py; do not edit.

set -g __sundog_files (path dirname -- (status filename))

function __sundog_names
    set -l words (commandline -opc)
    set -l ask ch-image
    # For a path, the ch-image that came with this file: what lies there may be anybody's.
    if string match -q '*/*' -- $words[1]
        set ask $__sundog_files/../../../bin/ch-image
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

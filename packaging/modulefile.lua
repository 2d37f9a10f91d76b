-- Sundog @VERSION@, for Lmod.  It finds its directory by its own place.
local prefix = myFileName():match("^(.*)/modulefiles/")
local programs = pathJoin(prefix, (subprocess("uname -m"):gsub("%s+$", "")), "bin")
if not isDir(programs) then programs = pathJoin(prefix, "bin") end

whatis("Sundog @VERSION@: unprivileged containers")
conflict("sundog")
prepend_path("PATH", programs)
prepend_path("MANPATH", pathJoin(prefix, "share/man"))

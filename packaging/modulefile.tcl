#%Module
# Sundog @VERSION@, for Environment Modules.  It finds its directory by its own place.
set prefix [file dirname [file dirname [file dirname [file normalize $ModulesCurrentModulefile]]]]
set programs [file join $prefix $tcl_platform(machine) bin]
if {![file isdirectory $programs]} { set programs [file join $prefix bin] }

module-whatis "Sundog @VERSION@: unprivileged containers"
conflict sundog
prepend-path PATH $programs
prepend-path MANPATH [file join $prefix share man]

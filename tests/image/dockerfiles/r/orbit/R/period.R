period <- function(axis) axis^1.5

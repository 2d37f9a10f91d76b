"""Programs that call Apptainer, with Sundog in its place."""

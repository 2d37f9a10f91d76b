"""Definition files of Apptainer: text to stages, headers and sections."""

"""The wing that users meet: the commands, the API, the runtimes' interfaces."""

/* The configuration of the site and of the user: base/configuration/holding.py. */

/* Tell whether something is there, or perhaps is. */
static int may_be_there(const char *path)
{
    long error = CALL(faccessat, AT_FDCWD, path);
    return error != -ENOENT && error != -ENOTDIR && error != -EACCES;
}

static void read_settings(void)
{
    const char *off = variable(SETTINGS_SWITCH), *own = variable("XDG_CONFIG_HOME");
    if (off && equal(off, SETTINGS_NONE)) return;
    if (off && *off) decline(SETTINGS_SWITCH);
    if (may_be_there(SITE_SETTINGS) && (may_be_there(SITE_SETTINGS "/" SETTINGS_FILE)
                                        || may_be_there(SITE_SETTINGS "/" SETTINGS_PARTS)))
        decline("a configuration of the site");
    if (!own || !*own) own = variable("HOME") ? JOINED(variable("HOME"), "/.config") : "";
    if (*own == '/' && may_be_there(JOINED(own, "/sundog/" SETTINGS_FILE)))
        decline("a configuration of the user");
}

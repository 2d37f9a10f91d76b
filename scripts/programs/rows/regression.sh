# Programs' own test suites

## openssh-tests
## long: yes
## seconds: 1500
ls /usr/lib/openssh/regress | head -n 40
cd /tmp
chown -R alice /tmp
su alice -c '/usr/lib/openssh/regress/run-tests 2>&1' | grep -E '^(ok|failed|skip|FAIL)' | tail -n 150

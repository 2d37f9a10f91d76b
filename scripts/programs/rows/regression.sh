# Programs' own test suites

## openssh-tests
## long: yes
## seconds: 1500
su - alice -c 'cd /tmp; PATH=$PATH:/usr/sbin /usr/lib/openssh/regress/run-tests "" -k tests' >/tmp/log 2>&1 || true
grep -E '^(ok|failed|skip|FAIL|SKIP)' /tmp/log
## postgresql-regress
## image: postgresql
## long: yes
## seconds: 1500
b=$(echo /usr/lib/postgresql/*/bin)
cd /opt/regress
r=$(echo /usr/lib/postgresql/*/lib/pgxs/src/test/regress/pg_regress)
su alice -c "$r --bindir=$b --inputdir=. --outputdir=/tmp/out --dlpath=. --temp-instance=/tmp/db \
    --schedule=parallel_schedule --max-concurrent-tests=20 --no-locale" >/tmp/log 2>&1 || true
grep -E '^(not )?ok' /tmp/log | sed 's/ *[0-9]* ms$//'
tail -n 2 /tmp/log
rm -rf /tmp/db /tmp/out

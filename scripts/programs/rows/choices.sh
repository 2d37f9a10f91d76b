# Programs that choose by what they may do: access(2)

## pip-user
python3 - <<'P'
import zipfile
info = "mine-1.0.dist-info/"
with zipfile.ZipFile("mine-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("mine.py", "print('mine')\n")
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "mine.py,,\n")
P
pip=$(echo /usr/share/python-wheels/pip-*.whl)/pip
install="python3 $pip install --no-index --break-system-packages /w/mine-1.0-py3-none-any.whl"
su alice -c "$install && python3 -m mine && python3 -c 'import mine; print(mine.__file__)'"
su bob -c "python3 -m mine" || echo "status $?"
$install --root-user-action=ignore
su bob -c 'python3 -m mine'
## gem-user
mkdir lib
echo 'puts "mine"' >lib/mine.rb
echo 'Gem::Specification.new { |s| s.name = "mine"; s.version = "1.0"; s.summary = "x"; s.authors = ["x"]; s.files = ["lib/mine.rb"] }' >mine.gemspec
gem build mine.gemspec 2>&1 | grep -E 'Successfully|Name|File'
su alice -c 'gem install --local --no-document /w/mine-1.0.gem && ruby -e "require %q(mine); puts Gem.loaded_specs[%q(mine)].full_gem_path"'
su bob -c 'ruby -e "require %q(mine)" 2>/dev/null' || echo "status $?"
## npm-user
## image: managers
## seconds: 240
for setting in update_notifier audit fund; do export npm_config_$setting=false; done
export npm_config_offline=true quiet='2>&1 | grep -aE "^(added|removed|npm ERR! (code|syscall|path))" | sed "s/ in .*//"'
mkdir -p mine/bin
cat >mine/package.json <<'J'
{"name": "mine", "version": "1.0.0", "bin": {"mine": "bin/mine.js"},
 "scripts": {"postinstall": "echo $(id -un) $(id -gn) >who"}}
J
printf '#!/usr/bin/node\nconsole.log("mine", process.getuid())\n' >mine/bin/mine.js
npm pack --silent ./mine
for who in root alice; do
    runuser -u $who -- bash -c "mkdir ~/project; cd ~/project; npm init -y >/dev/null; npm install /w/mine-1.0.0.tgz $quiet; npx mine; cat node_modules/mine/who"
    runuser -u $who -- bash -c "cd; npm install -g /w/mine-1.0.0.tgz $quiet; mine; npm ls -g --parseable | grep mine"
done
su alice -c "cd; npm config set prefix ~/own; npm install -g /w/mine-1.0.0.tgz $quiet; ~/own/bin/mine; cat own/lib/node_modules/mine/who"
chmod 755 ~alice
su bob -c "cd ~alice/project; npm uninstall mine $quiet; mine" || echo "status $?"
chown -R alice /usr/local/lib/node_modules /usr/local/bin
su alice -c "cd; npm uninstall -g --prefix /usr/local mine $quiet; command -v mine" || echo "status $?"
rm -rf ~/.npm ~alice/.npm ~bob/.npm
## cpan-user
## image: managers
## seconds: 240
mkdir -p Mine-1.0/lib Mine-1.0/t Mine-1.0/bin mirror/modules mirror/authors/id/M/MI/MINE
echo 'use ExtUtils::MakeMaker; WriteMakefile(NAME => "Mine", VERSION_FROM => "lib/Mine.pm", EXE_FILES => ["bin/mine"]);' >Mine-1.0/Makefile.PL
printf 'package Mine;\nour $VERSION = "1.0";\n1;\n' >Mine-1.0/lib/Mine.pm
printf '#!/usr/bin/perl\nuse Mine;\nprint "mine $INC{q(Mine.pm)}\\n";\n' >Mine-1.0/bin/mine
printf 'use Test::More tests => 2;\nuse_ok "Mine";\nok -w "lib";\n' >Mine-1.0/t/mine.t
(cd Mine-1.0 && find . -type f | cut -c3- | sort >MANIFEST)
tar -czf mirror/authors/id/M/MI/MINE/Mine-1.0.tar.gz Mine-1.0
(cd mirror/authors/id/M/MI/MINE && echo "\$cksum = {'Mine-1.0.tar.gz' => {cpan_path => 'M/MI/MINE', sha256 => '$(sha256sum <Mine-1.0.tar.gz | cut -c1-64)', size => $(stat -c %s Mine-1.0.tar.gz)}};" >CHECKSUMS)
gzip </dev/null >mirror/authors/01mailrc.txt.gz
printf 'File: 02packages.details.txt\nColumns: package name, version, path\nLine-Count: 1\nLast-Updated: %s\n\nMine 1.0 M/MI/MINE/Mine-1.0.tar.gz\n' "$(date -Ru | sed s/+0000/GMT/)" | gzip >mirror/modules/02packages.details.txt.gz
printf 'File: 03modlist.data\n\npackage CPAN::Modulelist;\nsub data { {} }\n1;\n' | gzip >mirror/modules/03modlist.data.gz
cpanm='cpanm --mirror file:///w/mirror --mirror-only Mine 2>&1 | grep -E "write to|^Success|installed|FAIL"'
su alice -c "$cpanm; PERL5LIB=~/perl5/lib/perl5 ~/perl5/bin/mine"
su bob -c 'command -v mine; perl -MMine -e 1 2>/dev/null' || echo "status $?"
su bob -c 'mkdir -p ~/.cpan/CPAN; cat >~/.cpan/CPAN/MyConfig.pm' <<'C'
my $home = "$ENV{HOME}/.cpan";
$CPAN::Config = {cpan_home => $home, build_dir => "$home/build", keep_source_where => "$home/sources", prefs_dir => "$home/prefs", histfile => "$home/history", make => "/usr/bin/make", urllist => ["file:///w/mirror"], pushy_https => 0};
C
for base in '' PERL_MM_OPT=INSTALL_BASE=/home/bob/perl5; do
    su bob -c "$base PERL_MM_USE_DEFAULT=1 cpan Mine" 2>&1 | grep -E -- '-- (NOT )?OK|^ERROR|write permission|^Result'
done
su bob -c 'PERL5LIB=~/perl5/lib/perl5 ~/perl5/bin/mine'
bash -c "$cpanm"
su bob -c mine
find /usr/local /home/*/perl5 \( -name 'Mine*' -o -name mine \) -printf '%p %u:%g %m\n' | sort
rm -rf ~/.cpan* /home/*/.cpan* /tmp/cpan_install_*
## fc-cache-user
su alice -c 'fc-cache -fv 2>&1' | grep -v ': caching'
fc-cache -fv 2>&1 | grep -v ': caching'
## sudoedit
mkdir free
chown alice free
echo old >/etc/edited
echo old >free/f
echo old >f
chmod 600 /etc/edited
echo 'alice ALL=(root) NOPASSWD: sudoedit /etc/edited, sudoedit /w/free/f, sudoedit /w/f' >/etc/sudoers.d/edit
for f in /etc/edited /w/free/f /w/f; do
    su alice -c "EDITOR='sed -i s/old/new/' sudoedit $f" || echo "status $?"
    cat $f
done
stat -c '%n %U %a' /etc/edited free/f f
## access-of-languages
mkdir closed mine
chmod 700 closed
touch closed/f 600 640 666 755 mine/f
for m in 600 640 666 755; do chmod $m $m; done
chgrp project 640
chown alice mine mine/f
chmod 0 mine/f
usermod -aG project bob
cat >ask <<'A'
for f in closed closed/f 600 640 666 755 mine mine/f /etc/passwd /etc /root/x; do
    for way in r w x; do
        test -$way $f && a=+ || a=-
        /bin/dash -c "test -$way $f" && b=+ || b=-
        env test -$way $f && c=+ || c=-
        echo -n " $way$a$b$c"
    done
    python3 -c 'import os,sys; f=sys.argv[1]; print(" python", *(int(os.access(f, m)) for m in (4,2,1)), *(int(os.access(f, m, effective_ids=True)) for m in (4,2,1)), end="")' $f
    perl -e 'use filetest "access"; $_=shift; print " perl ", (-r)+0, (-w)+0, (-x)+0, (-R)+0, (-W)+0, (-X)+0' $f
    echo " $f"
done
ruby -e 'ARGV.each { |f| puts "#{f} #{File.readable?(f)} #{File.writable?(f)} #{File.executable?(f)} #{File.writable_real?(f)}" }' closed closed/f 600 640 666 mine mine/f
php -r 'foreach (array_slice($argv, 1) as $f) echo $f, " ", +is_readable($f), +is_writable($f), +is_executable($f), "\n";' closed closed/f 600 640 666 mine mine/f
node -e 'const fs=require("fs"); for (const f of process.argv.slice(1)) { const ok=m=>{try{fs.accessSync(f,m);return 1}catch(e){return e.code}}; console.log(f,ok(4),ok(2),ok(1)) }' closed closed/f 600 640 666 mine mine/f
echo 'foreach f {closed closed/f 600 640 666 mine mine/f} { puts "$f [file readable $f] [file writable $f] [file executable $f]" }' | tclsh
find . -path ./closed -prune -o \( -readable -printf r -o -printf - \) \( -writable -printf w -o -printf - \) \( -executable -printf x -o -printf - \) -printf ' %p\n' 2>&1 | sort
A
for who in root alice bob; do
    echo "$who"
    runuser -u $who -- bash ask
done
setpriv --bounding-set -dac_override,-dac_read_search bash ask
## access-effective
touch f g
chown alice f
chmod 600 f g
for who in '--ruid=alice' '--euid=alice' '--reuid=alice'; do
    setpriv $who --clear-groups --regid=alice python3 -c '
import os
for f in "f", "g", "/etc/shadow":
    fd = os.open(f, os.O_PATH) if os.geteuid() == 0 else -1
    print(f, [os.access(f, m) for m in (4, 2, 1)], [os.access(f, m, effective_ids=True) for m in (4, 2, 1)])
    if fd >= 0:
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        for flags in 0x1000, 0x1200:
            print(f, hex(flags), [libc.syscall(439, fd, b"", m, flags) for m in (4, 2, 1)])
'
done
## exec-path
mkdir p q
for m in 700 750 644; do
    printf "#!/bin/sh\necho $m\n" >p/tool$m
    printf "#!/bin/sh\necho another\n" >q/tool$m
    chmod $m p/tool$m
done
chmod 755 q/*
chgrp project p/tool750
cp /bin/true q/binary
chmod 700 q/binary
cat >ask <<'A'
for m in 700 750 644; do
    env tool$m
    bash -c "tool$m"
    python3 -c "import subprocess; subprocess.run(['tool$m'])"
    command -v tool$m
done
q/binary && echo ran || echo "status $?"
A
for who in root alice; do
    runuser -u $who -- env PATH=/w/p:/w/q:$PATH bash ask 2>&1
done

//! Real programs have the same results recorded as natively: their output, their exit codes, and the files
//! they leave, with content, mode and owner.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::case::{Case, case};
use crate::harness::pair::{self, Pair};
use crate::harness::recorder::{COMPAT, assert_code, finish};
use crate::harness::tree;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("program::a_project_is_compiled", &["gcc", "make", "ar"], compile),
        case("program::a_repository_is_made_and_cloned", &["git"], clone),
        case("program::python_with_threads_and_forks", &["python3"], concurrent),
        case("program::sqlite_with_a_write_ahead_log", &["python3"], write_ahead),
        case("program::postgresql_from_initdb_to_recovery", &["setpriv", "psql"], postgresql),
        case("program::packages_are_installed_in_a_root", &["apt-get", "dpkg-deb", "unshare"], package),
        case("program::an_archive_is_unpacked_and_packed", &["tar", "cp", "find"], archive),
    ]
}

/// Returns the sources of zstd, which cargo has fetched for a dependency: a C project of some size.
pub fn sources() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).expect("a home");
    let registries = fs::read_dir(home.join("registry/src")).expect("cargo has fetched the dependencies");
    let crates =
        registries.flatten().flat_map(|registry| fs::read_dir(registry.path()).into_iter().flatten());
    let is_wanted = |path: &PathBuf| path.join("zstd/lib/zstd.h").exists();
    let found = crates.flatten().map(|entry| entry.path()).find(is_wanted);
    found.expect("zstd-sys is among the dependencies").join("zstd/lib")
}

/// Builds the library and a program with it, and runs the program.
pub const MAKEFILE: &str = "SOURCES := $(wildcard lib/common/*.c lib/compress/*.c lib/decompress/*.c)
OBJECTS := $(SOURCES:.c=.o)
CFLAGS := -O0 -MD -DZSTD_DISABLE_ASM -Ilib -frandom-seed=0
done: round
\t./round < Makefile > round.out
\tcmp round.out Makefile && touch done
round: round.o libzstd.a
\t$(CC) -o $@ $^
libzstd.a: $(OBJECTS)
\tar rcsD $@ $^
-include $(OBJECTS:.o=.d)
";

const ROUND: &str = "#include <stdio.h>\n#include <zstd.h>\nint main(void) {
    static char in[99999], packed[199999], out[99999];
    size_t n = fread(in, 1, sizeof in, stdin), m = ZSTD_compress(packed, sizeof packed, in, n, 9);
    size_t k = ZSTD_decompress(out, sizeof out, packed, m);
    return fwrite(out, 1, k, stdout) != n || m >= n;\n}\n";

/// Returns shell commands that copy the project into the working directory.
pub fn unpack() -> String {
    let sources = sources().display().to_string();
    format!(
        "cp -r '{sources}' lib; chmod -R u+w,go-w lib; printf '%s' \"$MAKEFILE\" > Makefile; printf '%s' \"$ROUND\" > round.c"
    )
}

/// Returns `env` with the project's additional files, and a script.
pub fn with_project(script: &str) -> Vec<String> {
    let variables = [format!("MAKEFILE={MAKEFILE}"), format!("ROUND={ROUND}")];
    let mut command = vec!["env".to_owned()];
    command.extend(variables);
    command.extend(["sh", "-ec", script].map(str::to_owned));
    command
}

fn assert_same_trees(pair: &Pair, wanted: &dyn Fn(&str) -> bool) {
    let (native, mirrored) = (&pair.native_directory, &pair.mirrored_directory);
    tree::assert_same(&tree::lines(native, wanted), &tree::lines(mirrored, wanted));
}

fn compile(directory: &Path) {
    let script = format!("{}; make -s -j2; ls -R | wc -l; make -s -j2; rm lib/common/*.o; make -s", unpack());
    let pair = pair::assert_same(directory, &with_project(&script));
    assert_same_trees(&pair, &|_| true);
}

fn clone(directory: &Path) {
    let script = format!(
        "export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_DATE=2001-02-03T04:05:06Z GIT_COMMITTER_DATE=2001-02-03T04:05:06Z
        git() {{ command git -c user.name=a -c user.email=a@b -c pack.threads=1 -c init.defaultBranch=main -c gc.auto=0 \"$@\"; }}
        mkdir one; cd one; {}; git init -q; git add .; git commit -qm first
        for i in 1 2 3 4 5 6; do echo $i >> Makefile; git mv round.c round-$i.c; git commit -qam $i; git mv round-$i.c round.c; done
        git commit -qam back; git tag -m tag v1; git checkout -qb side; rm -r lib/legacy; git commit -qam side; git checkout -q main
        cd ..; git clone -q --no-local one two 2>&1; cd two; git checkout -q side; git log --format=%H%d; git status --short
        git repack -adq; git fsck --no-progress --full; git merge -q --no-ff -m merged main; git rev-parse HEAD; git stash list; git grep -c ZSTD_compress -- '*.h'
        cd ..; git clone -q one three; diff -r --exclude=.git one three && git -C three worktree add -q ../four v1 && ls four | wc -l",
        unpack()
    );
    let pair = pair::assert_same(directory, &with_project(&script));
    // The index contains inode numbers and times. A worktree contains its absolute path, and a clone that of
    // its origin.
    let places =
        ["/index", "/.git/config", "/gitdir", "/four/.git", "/logs/HEAD", "/heads/main", "/packed-refs"];
    // The references between a pack's objects also depend on times. git fsck has read the repacked objects.
    let unlike = ["/.git/logs", "/two/.git/objects/pack/", "/two/.git/objects/info/packs"];
    let is_unlike = |path: &str| {
        places.iter().any(|end| path.ends_with(end)) || unlike.iter().any(|part| path.contains(part))
    };
    let wanted = |path: &str| !is_unlike(path);
    assert_same_trees(&pair, &wanted);
}

fn concurrent(directory: &Path) {
    let script = directory.join("script.py");
    fs::write(&script, include_str!("../fixtures/threads_and_forks.py")).expect("a file");
    let pair = pair::assert_same(directory, &["python3".as_ref(), script.as_os_str()]);
    assert_same_trees(&pair, &|_| true);
}

fn write_ahead(directory: &Path) {
    pair::assert_same(directory, &["python3", "-c", include_str!("../fixtures/wal.py")]);
}

/// Debian keeps the programs of a version out of `PATH`.
fn postgresql_programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin")).find(|bin| bin.join("initdb").exists());
    found.expect("initdb is in /usr/lib/postgresql (record-tests/setup installs it)")
}

fn postgresql(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("our directory");
    let programs = postgresql_programs().display().to_string();
    let script = include_str!("../fixtures/postgresql.sh");
    let pair = pair::assert_same(directory, &["sh", "-c", script, "sh", &programs]);
    let said = String::from_utf8_lossy(&pair.native.stdout).into_owned();
    assert!(said.contains("20000|") && said.contains("shut down"), "{said}");
}

fn archive(directory: &Path) {
    let script = format!(
        "export SOURCE_DATE_EPOCH=1; {}; ln lib/zstd.h lib/hard; ln -s ../Makefile lib/soft; mkfifo lib/pipe; mknod lib/null c 1 3
        chown -R 12:34 lib/common; chmod 6755 lib/hard; setfattr -n user.a -v b lib/zstd.h 2>/dev/null || true; truncate -s 5M lib/sparse
        tar --sort=name --mtime=@1 --pax-option=exthdr.name=%d/%f,delete=atime,delete=ctime --xattrs -cf a.tar lib; mkdir out; tar --xattrs -xpf a.tar -C out
        cp -a lib again; cp -r --reflink=auto lib plain; diff -r lib/common out/lib/common; tar --sort=name --mtime=@1 --pax-option=exthdr.name=%d/%f,delete=atime,delete=ctime --xattrs -cf b.tar -C out lib; tar --format=gnu --sort=name --mtime=@1 --sparse -cf c.tar lib
        cmp a.tar b.tar && sha256sum a.tar; find . -printf '%p %y %m %s %n %U %G\\n' | sort | sha256sum; du -sk lib/sparse
        find lib -name '*.h' -exec grep -l static {{}} + | sort | sha256sum; rm -rf plain; find again -depth -delete; ls",
        unpack()
    );
    let pair = pair::assert_same(directory, &with_project(&script));
    assert_same_trees(&pair, &|_| true);
}

/// Builds two packages with a diversion, a configuration file, an alternative, a user and scripts.
const PACKAGES: &str = r#"
package() {
    name="$1"; shift
    mkdir -p "$name/DEBIAN" "$name/etc/compat" "$name/usr/bin" "$name/usr/share/doc/$name" "$name/var/lib/$name"
    printf 'Package: %s\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b>\nDescription: a package\n%s' "$name" "$*" > "$name/DEBIAN/control"
    echo "$name" > "$name/etc/compat/${name#compat-}.conf"; echo "/etc/compat/${name#compat-}.conf" > "$name/DEBIAN/conffiles"
    printf '#!/bin/sh\necho %s\n' "$name" > "$name/usr/bin/$name"; chmod 4755 "$name/usr/bin/$name"
    for i in $(seq 300); do head -c $((i * 50)) /etc/services > "$name/usr/share/doc/$name/$i"; done
    ln "$name/usr/share/doc/$name/1" "$name/usr/share/doc/$name/hard"; ln -s 1 "$name/usr/share/doc/$name/soft"
    mkfifo "$name/var/lib/$name/pipe"; chmod 2770 "$name/var/lib/$name"
    cat > "$name/DEBIAN/postinst" <<IN
#!/bin/sh
set -e
id compat-user >/dev/null 2>&1 || useradd --system --uid 987 --home /nonexistent --shell /usr/sbin/nologin compat-user
chown compat-user "/var/lib/$name"
update-alternatives --install /usr/bin/compat-any compat-any "/usr/bin/$name" 10
ldconfig
IN
    cat > "$name/DEBIAN/prerm" <<IN
#!/bin/sh
update-alternatives --remove compat-any "/usr/bin/$name"
IN
    chmod 755 "$name/DEBIAN/postinst" "$name/DEBIAN/prerm"
}
package compat-first
package compat-second 'Depends: compat-first
'
printf '#!/bin/sh\nset -e\ndpkg-divert --package compat-second --rename --divert /etc/services.diverted /etc/services\n' > compat-second/DEBIAN/preinst
printf '#!/bin/sh\nif [ "$1" = remove ]; then dpkg-divert --package compat-second --rename --remove /etc/services; fi\n' > compat-second/DEBIAN/postrm
chmod 755 compat-second/DEBIAN/preinst compat-second/DEBIAN/postrm; echo second > compat-second/etc/services
for name in compat-first compat-second; do SOURCE_DATE_EPOCH=1 dpkg-deb --root-owner-group -b "$name" "$name.deb" > /dev/null; done
"#;

fn package(directory: &Path) {
    let mut steps = Command::new("sh");
    // The full size adds packages of the distribution.
    let download = if pair::is_full_size() { "apt-get download hello nano" } else { "" };
    steps.args(["-ec", &format!("umask 022; {PACKAGES}\n{download}")]).current_dir(directory);
    assert_code(&finish(steps, b""), 0);
    let run = |name: &str, before: &[&str]| {
        let place = directory.join(name);
        fs::create_dir(&place).expect("a directory");
        let script = format!("cp ../*.deb .; {}", include_str!("../fixtures/package.sh"));
        let upper = directory.join(format!("tree-{name}")).display().to_string();
        let mut run = Command::new("unshare");
        run.args(["-m", "sh", "-c", &script, "sh", &upper]).args(before).current_dir(&place);
        let output = finish(run, b"");
        let said = fs::read_to_string(place.join("out")).unwrap_or_default();
        let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("Fetched ")).collect();
        let said = said.join("\n");
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        (said, tree::lines(Path::new(&upper), &|_| true))
    };
    let native = run("native", &[]);
    let mirrored = run("mirror", &[COMPAT, "record", "-q", "-o", "/root/build/run.jsonl", "--"]);
    assert_eq!(mirrored.0, native.0);
    tree::assert_same(&native.1, &mirrored.1);
    assert!(
        native.1.iter().any(|line| line.starts_with("/usr/share/doc/compat-first/300")),
        "{:?}",
        native.1
    );
}

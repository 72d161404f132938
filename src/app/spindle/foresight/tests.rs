//! Tests of foresight.

use std::ffi::OsStr;
use std::io::Write as _;

use compat_loader::elf::{Dependency, DependencyKind};
use compat_loader::spec::CacheLine;

use super::*;

const KIND: (Machine, Class) = (Machine::X86_64, Class::Elf64);

fn dynamic(needed: &[&str], rpath: Option<&str>, runpath: Option<&str>) -> Dynamic {
    let needed = needed.iter().map(|name| (*name).to_owned());
    Dynamic {
        needed: needed.map(|name| Dependency { name, kind: DependencyKind::Needed }).collect(),
        rpath: rpath.map(str::to_owned),
        runpath: runpath.map(str::to_owned),
        ..Dynamic::default()
    }
}

fn shown(wishes: &[Wish]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let shown = |wish: &Wish| {
        let directories: Vec<String> = wish.directories.iter().map(|directory| text(directory)).collect();
        format!("{} in {}", text(&wish.name), directories.join(" "))
    };
    wishes.iter().map(shown).collect()
}

fn cache(lines: &[(&str, &str, i32)]) -> Option<LibraryCache> {
    let line = |(name, path, flags): &(&str, &str, i32)| CacheLine {
        name: (*name).to_owned(),
        path: (*path).to_owned(),
        flags: *flags,
        hwcaps: None,
        legacy_hwcaps: 0,
    };
    Some(LibraryCache::of_lines(&lines.iter().map(line).collect::<Vec<_>>()))
}

fn content(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("its content");
    file
}

#[test]
fn libraries_are_searched_in_the_order_of_the_loader() {
    let cache = cache(&[("libc.so.6", "/lib32/libc.so.6", 3), ("libc.so.6", "/lib64/libc.so.6", 0x303)]);
    let foresight = Foresight::new(OsStr::new("/env:relative:"), OsStr::new(""), cache);
    let of = |rpath, runpath| {
        shown(&foresight.of_dynamic(
            b"/opt/bin/app",
            &dynamic(&["liba.so", "libc.so.6"], rpath, runpath),
            KIND,
        ))
    };
    let runpath = of(Some("/ignored"), Some("$ORIGIN/../lib:/b"));
    assert_eq!(
        runpath,
        ["liba.so in /env /opt/bin/../lib /b", "libc.so.6 in /env /opt/bin/../lib /b /lib64"]
    );
    let rpath = of(Some("/r:${ORIGIN}:x"), None);
    assert_eq!(rpath, ["liba.so in /r /opt/bin /env", "libc.so.6 in /r /opt/bin /env /lib64"]);
}

#[test]
fn a_library_inherits_the_rpath_of_the_program_unless_it_has_a_runpath() {
    let foresight = Foresight::default();
    foresight.of_dynamic(b"/opt/bin/app", &dynamic(&["liba.so"], Some("/r"), None), KIND);
    let library = |runpath| {
        let library = Dynamic { soname: Some("liba.so".to_owned()), ..dynamic(&["libb.so"], None, runpath) };
        shown(&foresight.of_dynamic(b"/r/liba.so.1.2", &library, KIND))
    };
    assert_eq!(library(None), ["libb.so in /r"]);
    assert_eq!(library(Some("/own")), ["libb.so in /own"]);
    let next = foresight.of_dynamic(b"/r/libb.so", &dynamic(&["libz.so"], None, None), KIND);
    assert_eq!(shown(&next), ["libz.so in /r"]);
}

#[test]
fn names_with_a_slash_and_tokens_are_paths() {
    let foresight = Foresight::default();
    let needed = dynamic(&["/abs/liba.so", "$ORIGIN/libb.so", "x/libc.so", ""], None, Some("/a/$LIB"));
    let wishes = shown(&foresight.of_dynamic(b"/opt/app", &needed, KIND));
    assert_eq!(wishes, ["liba.so in /abs", "libb.so in /opt"]);
    let lib = foresight.of_dynamic(b"/opt/app", &dynamic(&["liba.so"], None, Some("/a/$LIB")), KIND);
    assert_eq!(shown(&lib), ["liba.so in /a/lib64 /a/lib/x86_64-linux-gnu"]);
}

#[test]
fn a_real_program_leads_to_its_interpreter_and_libraries() {
    let path = std::fs::canonicalize("/bin/sh").expect("a shell");
    let file = File::open(&path).expect("a shell");
    let object = Object::parse(compat_sys::map(&file).expect("its bytes")).expect("an object");
    let foresight = Foresight::of_this_process();
    let wishes = foresight.after(path.as_os_str().as_bytes(), &file);
    let file_name = |path: &String| path.rsplit('/').next().unwrap_or_default().as_bytes().to_vec();
    let needed = object.dynamic.map(|dynamic| dynamic.needed).unwrap_or_default();
    let needed = needed.iter().map(|needed| needed.name.clone().into_bytes());
    let expected: Vec<Vec<u8>> = object.interpreter.iter().map(file_name).chain(needed).collect();
    assert_eq!(wishes.iter().map(|wish| wish.name.clone()).collect::<Vec<_>>(), expected);
    let exists = |wish: &Wish| {
        let mut paths = wish.directories.iter().map(|directory| Path::new(OsStr::from_bytes(directory)));
        paths.any(|directory| directory.join(OsStr::from_bytes(&wish.name)).exists())
    };
    assert!(foresight.cache.is_none() || wishes.iter().all(exists), "{:?}", shown(&wishes));
}

#[test]
fn a_script_leads_to_its_interpreter() {
    let foresight = Foresight::new(OsStr::new(""), OsStr::new("/usr/local/bin:/usr/bin"), None);
    let after = |text: &str| shown(&foresight.after(b"/opt/run", &content(text.as_bytes())));
    assert_eq!(after("#!/bin/sh -e\nls\n"), ["sh in /bin"]);
    let env = after("#!/usr/bin/env python3\nimport os\n");
    assert_eq!(env, ["env in /usr/bin", "python3 in /usr/local/bin /usr/bin"]);
    for text in ["", "#!", "#!sh\n", "import os\n", "\x7fELF"] {
        assert_eq!(after(text), [""; 0], "{text}");
    }
}

#[test]
fn a_damaged_object_has_few_wishes_or_none() {
    let bytes = std::fs::read("/bin/sh").expect("a shell");
    let foresight = Foresight::default();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let mut damaged = bytes.clone();
        for _ in 0..8 {
            let place = random.usize(16..4096.min(damaged.len()));
            damaged[place] = random.u8(..);
        }
        assert!(foresight.after(b"/x", &content(&damaged)).len() <= MOST_WISHES + 1);
    }
}

#[test]
fn wishes_are_bounded() {
    let foresight = Foresight::default();
    let names: Vec<String> = (0..20_000).map(|number| format!("lib{number}.so")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let list: Vec<String> = (0..20_000).map(|number| format!("/d{number}")).collect();
    let wishes = foresight.of_dynamic(b"/x", &dynamic(&names, Some(&list.join(":")), None), KIND);
    assert_eq!((wishes.len(), wishes[0].directories.len()), (MOST_WISHES, MOST_DIRECTORIES));
    assert!(wishes.iter().all(|wish| Arc::ptr_eq(&wish.directories, &wishes[0].directories)));
    assert_eq!(foresight.inherited.lock().expect("names").len(), MOST_INHERITED);
}

//! Layers that only an attacker makes: the result is a clear error or a bounded, correct answer.

use super::{Tar, lines, merged, tree, tree_with};
use crate::layer::LayerState;
use crate::tests::sample::Sample;
use crate::{Limits, limit};
use compat_loader::elf::Machine;

fn error(layers: &[Vec<u8>]) -> String {
    tree(layers).map(|tree| lines(&tree).join("\n")).unwrap_err()
}

#[test]
fn names_that_climb_or_are_absolute_stay_below_the_root() {
    let layer = Tar::new().file("../../etc/x", "#!x").file("/etc/y", "#!y").file("a/../../../etc/z", "#!z");
    assert_eq!(merged(vec![layer]), ["/etc/", "/etc/x #!x", "/etc/y #!y", "/etc/z #!z"]);
    assert_eq!(merged(vec![Tar::new().directory("../..").directory("/").file("..", "#!x")]), [""; 0]);
}

#[test]
fn whiteouts_of_parents_hide_nothing() {
    let lower = Tar::new().file("a/x", "#!lower");
    let upper = Tar::new()
        .file("a/.wh...", "")
        .file("a/.wh..", "")
        .file("a/.wh.", "")
        .file("../.wh..", "")
        .file(".wh...", "")
        .file("../../.wh.b", "");
    assert_eq!(merged(vec![lower, upper]), ["/a/", "/a/x #!lower"]);
}

#[test]
fn a_name_below_a_loop_of_links_or_a_file_is_an_error() {
    let looped = Tar::new().link("a", "b").link("b", "a").file("a/x", "#!x");
    insta::assert_snapshot!(error(&[looped.end()]), @"a: too many links");
    let growing = Tar::new().link("a", "a/a/a/a/a/a/a/a").file("a/x", "#!x");
    insta::assert_snapshot!(error(&[growing.end()]), @"a: too many links");
    let below = Tar::new().file("a", "#!a").file("a/x", "#!x");
    insta::assert_snapshot!(error(&[below.end()]), @"a is used as a directory, but the layer contains a file at that path");
}

#[test]
fn devices_and_pipes_are_nodes_without_content() {
    let layer = Tar::new()
        .entry(b"dev/null", tar::EntryType::Char, b"", b"")
        .entry(b"dev/sda", tar::EntryType::Block, b"", b"")
        .entry(b"pipe", tar::EntryType::Fifo, b"", b"");
    assert_eq!(merged(vec![layer]), ["/dev/", "/dev/null other", "/dev/sda other", "/pipe other"]);
}

#[test]
fn enormous_headers_are_not_read_into_memory() {
    let value = vec![b'x'; 2 * limit::HEADER as usize];
    let large = Tar::new().pax(&[("comment", &value)]).file("a", "#!x");
    let expected = "invalid tar archive: the headers of one entry are longer than 1048576 bytes";
    assert_eq!(error(&[large.end()]), expected);
    // The header announces gigabytes that are never sent.
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_size(7 << 30);
    header.set_cksum();
    let announced = [Tar::new().push(&header, b"").cut(), vec![b'1'; 2 << 20]].concat();
    assert_eq!(error(&[announced]), expected);
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_cksum();
    let mut gnu = tar::Header::new_gnu();
    gnu.set_entry_type(tar::EntryType::GNULongName);
    gnu.set_size(7 << 30);
    gnu.set_cksum();
    assert_eq!(error(&[[Tar::new().push(&gnu, b"").cut(), vec![b'1'; 2 << 20]].concat()]), expected);
}

#[test]
fn many_small_headers_are_allowed() {
    let mut layer = Tar::new();
    for number in 0..5000 {
        layer = layer.pax(&[("comment", &[b'x'; 400])]).file(&format!("f{number}"), "#!x");
    }
    assert_eq!(merged(vec![layer]).len(), 5000);
}

#[test]
fn names_that_no_file_system_has_are_errors() {
    let long = "x/".repeat(2500);
    let layer = Tar::new().pax(&[("path", long.as_bytes())]).file("a", "#!x");
    assert!(error(&[layer.end()]).starts_with("a path is longer than 4096 bytes: x/x/"));
    let nul = Tar::new().pax(&[("path", b"a\0b")]).file("a", "#!x");
    insta::assert_snapshot!(error(&[nul.end()]), @r"a path has a NUL byte: a\0b");
    let target = "y".repeat(5000);
    let link = Tar::new().pax(&[("linkpath", target.as_bytes())]).link("a", "b");
    insta::assert_snapshot!(error(&[link.end()]), @"a is a link without a valid target");
}

#[test]
fn a_cut_or_garbled_archive_is_an_error() {
    let whole = Tar::new().file("etc/ld.so.conf", &"x".repeat(2000)).end();
    insta::assert_snapshot!(error(&[whole[..1000].to_vec()]), @"the archive ends inside etc/ld.so.conf");
    insta::assert_snapshot!(error(&[whole[..300].to_vec()]), @"the archive ends inside its first header");
    let passed_over = Tar::new().file("data", &"x".repeat(2000)).end();
    insta::assert_snapshot!(error(&[passed_over[..1000].to_vec()]), @"the archive ends inside data");
    insta::assert_snapshot!(error(&[b"no archive at all ".repeat(100)]), @"invalid tar archive: numeric field was not a number: rchive a when getting cksum for no archive at all no archive at all");
}

/// Each result matches Go's `archive/tar`, with which docker, podman and containerd unpack layers.
#[test]
fn an_archive_may_end_without_padding_or_blocks_of_zeroes() {
    let found = |layer: &[u8]| lines(&tree(&[layer.to_vec()]).unwrap());
    assert_eq!(found(b""), [""; 0]);
    assert_eq!(found(&[0; 512]), [""; 0]);
    for content in
        ["#!x".to_owned(), format!("#!x\n{}", "y".repeat(508)), format!("#!x\n{}", "y".repeat(700))]
    {
        let read = Tar::new().directory("b").file("a", &content).cut();
        // The same for a member with content that is not read.
        let passed_over = Tar::new().file("a", "#!x").file("c", &content.replace('#', "-")).cut();
        for (layer, expected) in [(read, ["/a #!x", "/b/"]), (passed_over, ["/a #!x", "/c"])] {
            let unpadded = layer.len() - (512 - content.len() % 512) % 512;
            for length in unpadded..=layer.len() {
                assert_eq!(found(&layer[..length]), expected, "{length}");
            }
            assert_eq!(found(&[layer.clone(), vec![0; 512]].concat()), expected);
            assert_eq!(found(&[layer.clone(), vec![0; 10240]].concat()), expected);
            assert_eq!(found(&[layer.clone(), vec![0; 1024], b"anything".to_vec()].concat()), expected);
        }
    }
}

#[test]
fn an_archive_that_is_cut_names_the_member() {
    let whole = Tar::new().file("a", "#!x").file("etc/data", &"x".repeat(700)).directory("z").cut();
    let at = |length: usize| error(&[whole[..length].to_vec()]);
    insta::assert_snapshot!(at(514), @"the archive ends inside a");
    insta::assert_snapshot!(at(1024 + 100), @"the archive ends inside the header after a");
    insta::assert_snapshot!(at(1536 + 699), @"the archive ends inside etc/data");
    insta::assert_snapshot!(at(1536 + 1024 + 511), @"the archive ends inside the header after etc/data");
    let long = Tar::new().file("a", "#!x").entry(b"x", tar::EntryType::GNULongName, b"", &[b'n'; 300]).cut();
    insta::assert_snapshot!(error(&[long[..1024 + 512 + 200].to_vec()]), @"the archive ends inside the header after a");
    let ended = |tail: &[u8]| error(&[[&whole[..1024], tail].concat()]);
    insta::assert_snapshot!(ended(&[0; 100]), @"the archive ends inside the header after a");
    insta::assert_snapshot!(ended(&[0; 700]), @"the archive ends inside a block after a");
    let hidden = [&[0; 512], &whole[1024..]].concat();
    insta::assert_snapshot!(ended(&hidden), @"the archive continues after a single block of zeroes after a");
}

#[test]
fn content_where_none_may_be_is_an_error() {
    let layer = Tar::new().entry(b"a", tar::EntryType::Link, b"b", b"hidden").file("b", "#!x");
    insta::assert_snapshot!(error(&[layer.end()]), @"a has content but is not a regular file");
}

#[test]
fn hard_links_in_a_circle_or_to_nowhere_are_errors() {
    let circle = Tar::new().hard_link("a", "b").hard_link("b", "a");
    insta::assert_snapshot!(error(&[circle.end()]), @"layer 0: a is a hard link to b, which the image does not contain");
    let own = Tar::new().hard_link("a", "a");
    insta::assert_snapshot!(error(&[own.end()]), @"layer 0: a is a hard link to a, which the image does not contain");
    let nowhere = Tar::new().hard_link("usr/bin/a", "../../etc/shadow");
    insta::assert_snapshot!(error(&[Tar::new().file("x", "#!x").end(), nowhere.end()]), @"layer 1: usr/bin/a is a hard link to etc/shadow, which the image does not contain");
    let directory = Tar::new().directory("d").hard_link("a", "d");
    insta::assert_snapshot!(error(&[directory.end()]), @"a hard link points to d, which is a directory");
}

#[test]
fn sparse_files_are_read_with_their_holes_and_their_size_is_bounded() {
    // Only the first bytes of the object are stored.
    let program = Sample::program(Machine::X86_64, 1 << 20).bytes().to_vec();
    let mut map = format!("1\n0\n{}\n", program.len()).into_bytes();
    map.resize(512, 0);
    let size = program.len() as u64 + (1 << 20);
    let content = [map, program].concat();
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"usr/bin/sparse"),
        ("GNU.sparse.realsize", &size.to_string().into_bytes()),
    ];
    let layer = Tar::new().pax(&records).entry(b"GNUSparseFile.0/x", tar::EntryType::Regular, b"", &content);
    let tree = tree(&[layer.file("next", "#!x").end()]).unwrap();
    let (path, _, file, packed) = tree.objects().next().unwrap();
    assert_eq!((path.to_str(), file.size, packed.length()), (Some("/usr/bin/sparse"), size, size));
    assert!(lines(&tree).contains(&"/next #!x".to_owned()));

    let endless: [(&str, &[u8]); 2] = [("GNU.sparse.size", b"9223372036854775807"), ("GNU.sparse.map", b"")];
    let layer = Tar::new().pax(&endless).file("a", "");
    insta::assert_snapshot!(error(&[layer.end()]), @"the total size in bytes of sparse files exceeds the limit of 68719476736");
}

#[test]
fn a_sparse_file_of_the_old_kind_can_be_passed_over() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_path("sparse").unwrap();
    header.set_mode(0o755);
    header.set_size(4);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.sparse[0].offset[..11].copy_from_slice(b"00004000000");
    gnu.sparse[0].numbytes[..11].copy_from_slice(b"00000000004");
    gnu.realsize[..11].copy_from_slice(b"00004000004");
    header.set_cksum();
    let layer = Tar::new().push(&header, b"data").file("next", "#!x");
    assert_eq!(merged(vec![layer]), ["/next #!x", "/sparse"]);
}

#[test]
fn entries_and_memory_are_bounded() {
    let layer = Tar::new().file("a", "#!x").file("b", "#!x").file("c", "#!x").end();
    let bounded =
        |limits| tree_with(std::slice::from_ref(&layer), limits).map(|tree| lines(&tree)).unwrap_err();
    insta::assert_snapshot!(bounded(Limits { entries: 2, ..Limits::default() }), @"the number of entries in the image exceeds the limit of 2");
    insta::assert_snapshot!(bounded(Limits { kept: 100, ..Limits::default() }), @"the memory in bytes for the image's files exceeds the limit of 100");
}

/// The error of a layer that exceeds `kept` bytes of memory, and the merge's own count at that point.
fn counted(layers: &[Vec<u8>], kept: u64) -> (String, u64) {
    let mut state = LayerState::new(Limits { kept, ..Limits::default() }).unwrap();
    let numbered = layers.iter().enumerate().rev();
    let outcomes = numbered.map(|(number, layer)| state.apply(number as u32, &layer[..]));
    let outcome: Result<Vec<()>, _> = outcomes.collect();
    (outcome.map(|_| String::new()).unwrap_or_else(|fault| fault.to_string()), state.kept())
}

#[test]
fn each_new_directory_of_a_long_path_counts_with_its_leaf_and_its_path() {
    let deep = |number: usize| format!("{number}/{}x", "a/".repeat(2000)).into_bytes();
    let layer = (0..5).fold(Tar::new(), |layer, number| layer.pax(&[("path", &deep(number))]).file("x", ""));
    let (error, kept) = counted(&[layer.end()], 1 << 30);
    assert_eq!(error, "");
    // 10,000 directories, each with a node, a name, a leaf for its one child, and a path.
    let directory = 40 + 32 + 240 + 2000;
    assert!(kept > 10_000 * directory && kept < 10_000 * (directory + 200), "{kept}");
}

#[test]
fn the_target_of_a_link_counts_wherever_it_is_put() {
    let target = [b'y'; 4000];
    let mut layer = Tar::new();
    for number in 0..100 {
        layer = layer.file(&format!(".wh.{number}"), "");
    }
    let (_, before) = counted(&[Tar { bytes: layer.bytes.clone() }.end()], 1 << 30);
    for number in 0..100 {
        layer = layer.pax(&[("linkpath", &target)]).link(&number.to_string(), "t");
    }
    let (error, kept) = counted(&[layer.end()], 1 << 30);
    assert_eq!(error, "");
    assert!(kept - before >= 100 * 4000, "{kept} after {before}");
    // Replaced entries free their memory.
    let mut again = Tar::new();
    for _ in 0..1000 {
        again = again.pax(&[("linkpath", &target)]).link("same", "t");
    }
    assert!(counted(&[again.end()], 1 << 30).1 < 100_000);
}

#[test]
fn hard_links_that_wait_for_their_file_count_and_are_given_back() {
    let path = |number: usize, names: &str| format!("{number}/{}", names.repeat(1000)).into_bytes();
    let mut layer = Tar::new();
    for number in 0..50 {
        let records = [("linkpath", &path(number, "c/")[..])];
        layer = layer.pax(&records).hard_link(&number.to_string(), "t");
    }
    let waiting = layer.end();
    let (error, kept) = counted(std::slice::from_ref(&waiting), 1 << 30);
    assert_eq!(error, "");
    // A thousand names, each a block and a slot in a list.
    assert!(kept > 50 * 1000 * (32 + 16), "{kept}");
    let (error, kept) = counted(std::slice::from_ref(&waiting), 1 << 20);
    assert!(error.starts_with("the memory in bytes") && kept < (1 << 20) + 100_000, "{error} {kept}");
    let mut files = Tar::new();
    for number in 0..50 {
        files = files.pax(&[("path", &path(number, "c/")[..])]).file("x", "#!x");
    }
    let mut state = LayerState::new(Limits::default()).unwrap();
    state.apply(1, &waiting[..]).unwrap();
    state.apply(0, &files.end()[..]).unwrap();
    assert!(state.broken_link().is_none());
    assert_eq!(state.kept(), state.merge.kept());
}

#[test]
fn hard_links_to_one_object_share_it() {
    let program = Sample::program(Machine::X86_64, 1000).bytes();
    let lower = Tar::new().entry(b"real", tar::EntryType::Regular, b"", &program);
    let upper = (0..50).fold(Tar::new(), |layer, number| layer.hard_link(&number.to_string(), "real"));
    let tree = tree(&[lower.end(), upper.end()]).unwrap();
    let frames: std::collections::HashSet<*const u8> =
        tree.objects().map(|(.., packed)| packed.frame().as_ptr()).collect();
    assert_eq!((tree.objects().count(), frames.len()), (51, 1));
}

#[test]
fn a_walk_leaves_out_what_no_path_leads_to() {
    let deep = vec!["d".repeat(250); 15].join("/");
    let layer = Tar::new()
        .pax(&[("path", format!("{deep}/x").as_bytes())])
        .file("x", "#!x")
        .pax(&[("linkpath", deep.as_bytes())])
        .link("l", "t")
        .file(&format!("l/{}/{}/y", "e".repeat(60), "f".repeat(20)), "#!y");
    let longer = layer.pax(&[("path", format!("l/{}/{}/z", "g".repeat(250), "h".repeat(250)).as_bytes())]);
    let tree = tree(&[longer.file("x", "#!z").end()]).unwrap();
    let paths: Vec<usize> = tree.walk_all().map(|(path, _)| path.as_os_str().len()).collect();
    assert!(paths.iter().all(|length| *length <= limit::PATH), "{paths:?}");
    assert!(lines(&tree).iter().any(|line| line.ends_with("/y #!y")));
    assert!(!lines(&tree).iter().any(|line| line.ends_with("/z #!z")));
}

proptest::proptest! {
    /// Invariant: a layer with some overwritten bytes is read or refused without a panic.
    #[test]
    fn overwritten_bytes_never_panic(
        places in proptest::collection::vec((0.0..1.0_f64, proptest::num::u8::ANY), 1..16),
    ) {
        let layer = Tar::new().pax(&[("path", b"etc/ld.so.conf")]).file("a", "text").link("b", "a").hard_link("c", "a");
        let mut bytes = layer.directory("d/").file("d/.wh.e", "").end();
        let length = bytes.len() as f64;
        for (place, byte) in places {
            bytes[(place * length) as usize] = byte;
        }
        let _ = tree(&[bytes]);
    }

    /// Invariant: no name in the tree leads out of it.
    #[test]
    fn names_never_lead_out(names in proptest::collection::vec("(\\.\\./|/|\\./|\\.wh\\.|a|b){0,6}", 1..12)) {
        let mut layer = Tar::new();
        for name in &names {
            layer = layer.file(name, "#!x");
        }
        if let Ok(tree) = tree(&[layer.end()]) {
            for (path, _) in tree.walk_all() {
                proptest::prop_assert!(path.components().all(|part| !matches!(part, std::path::Component::ParentDir)));
            }
        }
    }
}
